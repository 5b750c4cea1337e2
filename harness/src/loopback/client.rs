//! One query and the time until its response.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::failure::{Failure, WithContext};
use crate::framing;

/// The result of a lookup.
#[derive(Debug, Clone)]
pub struct LookupResult {
    /// The response; `None` after a time-out.
    pub response: Option<Message>,
    /// The time from the query to the response or the time-out.
    pub elapsed: Duration,
}

impl LookupResult {
    /// Whether the response has an address.
    pub fn is_answered(&self) -> bool {
        self.response.as_ref().is_some_and(|response| !response.answers.is_empty())
    }

    /// Whether the response is NXDOMAIN.
    pub fn is_missing(&self) -> bool {
        let rcode = self.response.as_ref().map(|response| response.metadata.response_code);
        rcode == Some(ResponseCode::NXDomain)
    }

    /// The first address in the response; a CNAME may precede it.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.response.as_ref()?.answers.iter().find_map(|record| match record.data {
            RData::A(A(address)) => Some(address),
            _ => None,
        })
    }

    /// The TTL of the first record, in seconds; that of an expired answer is 30.
    pub fn ttl(&self) -> Option<u32> {
        Some(self.response.as_ref()?.answers.first()?.ttl)
    }

    /// The time in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1000.0
    }
}

/// The time-out of glibc for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one query for the A record of a name.
pub async fn ask(server: SocketAddr, name: &str) -> Result<LookupResult, Failure> {
    ask_from(Ipv4Addr::LOCALHOST, server, name, RecordType::A).await
}

/// Sends one query from that address of the loopback; all of 127.0.0.0/8 can be used.
pub async fn ask_from(
    source: Ipv4Addr,
    server: SocketAddr,
    name: &str,
    record_type: RecordType,
) -> Result<LookupResult, Failure> {
    let asking = || format!("asking for {name}");
    let bytes = question(name, record_type)?.to_vec().with_context(asking)?;
    let socket = UdpSocket::bind((source, 0)).await.with_context(asking)?;
    socket.connect(server).await.with_context(asking)?;
    let start = Instant::now();
    socket.send(&bytes).await.with_context(asking)?;
    let mut buffer = [0; 4096];
    let received = timeout(ANSWER_TIMEOUT, socket.recv(&mut buffer)).await;
    let elapsed = start.elapsed();
    let response =
        received.ok().and_then(Result::ok).and_then(|length| Message::from_vec(&buffer[..length]).ok());
    Ok(LookupResult { response, elapsed })
}

/// A query with id 1.
pub fn question(name: &str, record_type: RecordType) -> Result<Message, Failure> {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).with_context(|| format!("reading the name {name:?}"))?;
    message.add_query(Query::query(name, record_type));
    Ok(message)
}

/// A connection from that address.
pub async fn connect_from(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(server).await
}

/// Sends a message over a connection, and waits for the next message.
pub async fn exchange(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    framing::write(stream, message).await?;
    framing::read(stream).await
}
