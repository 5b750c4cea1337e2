//! A proxy process and a scripted upstream for it; both on free ports, both stopped when dropped.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses what it needs")]

mod proxy;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::RecordType;
pub use proxy::{Proxy, program};
pub use upstream::{Script, Upstream};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

/// No step of a test takes longer; a step that does has failed, and is not only slow.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An upstream with that script, and a proxy in front of it.
pub async fn start<S: Into<Script>>(
    script: impl Fn(&Message, bool) -> S + Send + Sync + 'static,
    flags: &[&str],
) -> (Upstream, Proxy) {
    let upstream = Upstream::start(script).await;
    let proxy = Proxy::start(&[upstream.address], flags).await;
    (upstream, proxy)
}

/// The bytes of a reply, with the query's id if it has none.
pub fn encode(mut message: Message, query: &Message) -> Vec<u8> {
    if message.metadata.id == 0 {
        message.metadata.id = query.metadata.id;
    }
    message.to_vec().expect("encodes")
}

/// A reply to `query` with these answers; its id is set when it is sent.
pub fn reply(query: &Message, rcode: ResponseCode, answers: Vec<Record>) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = rcode;
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_queries(query.queries.iter().cloned());
    message.insert_answers(answers);
    message
}

/// NOERROR with one address of the queried name, for 60 s.
pub fn address(query: &Message) -> Message {
    reply(query, ResponseCode::NoError, vec![a(&queried_name(query), 60)])
}

/// An RCODE and no record.
pub fn without_records(query: &Message, rcode: ResponseCode) -> Message {
    reply(query, rcode, Vec::new())
}

/// TC and no record.
pub fn truncated(query: &Message) -> Message {
    let mut message = without_records(query, ResponseCode::NoError);
    message.metadata.truncation = true;
    message
}

/// The name of the question, in the case of the query.
pub fn queried_name(query: &Message) -> String {
    query.queries[0].name().to_string()
}

/// An address record.
pub fn a(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(10, 0, 0, 1))))
}

/// A name from its text.
pub fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A client's query with RD set; with EDNS of that size if given.
pub fn query(name: &str, kind: RecordType, id: u16, edns: Option<u16>) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(self::name(name), kind));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

/// Sends a query over UDP; returns the answer, which must have the query's id.
pub async fn ask(server: SocketAddr, query: &Message) -> Message {
    let bytes = ask_bytes(server, &query.to_vec().expect("encodes")).await;
    let answer = Message::from_vec(&bytes).expect("the answer decodes");
    assert_eq!(answer.metadata.id, query.metadata.id);
    answer
}

/// The same in bytes.
pub async fn ask_bytes(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(server).await.expect("connects");
    socket.send(query).await.expect("sends");
    let mut buffer = vec![0; 65536];
    let length =
        timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer in time").expect("receives");
    buffer.truncate(length);
    buffer
}

/// A connection from that address of the loopback, with a small buffer for answers.
pub async fn connect_from(source: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer, which is full soon");
    socket.bind((source, 0).into()).expect("binds");
    socket.connect(server).await.expect("connects")
}

/// Sends a query over TCP.
pub async fn ask_tcp(server: SocketAddr, query: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("connects");
    write_frame(&mut stream, &query.to_vec().expect("encodes")).await;
    let bytes = timeout(PATIENCE, read_frame(&mut stream)).await.expect("an answer in time").expect("reads");
    Message::from_vec(&bytes).expect("the answer decodes")
}

/// Reads one message of a stream.
pub async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes one message to a stream; the peer may have closed it.
pub async fn write_frame(stream: &mut TcpStream, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a DNS message");
    let _ = stream.write_all(&length.to_be_bytes()).await;
    let _ = stream.write_all(bytes).await;
}
