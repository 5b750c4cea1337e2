//! One question and how long it took.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::failure::{Failure, Tried};
use crate::framing;

/// What a client saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The response; none in time.
    pub response: Option<Message>,
    /// From the question to the response, or to the end of the patience.
    pub took: Duration,
}

impl Seen {
    /// Whether it was given an address.
    pub fn is_answered(&self) -> bool {
        self.response.as_ref().is_some_and(|response| !response.answers.is_empty())
    }

    /// Whether it was told that there is no such name.
    pub fn is_missing(&self) -> bool {
        let rcode = self.response.as_ref().map(|response| response.metadata.response_code);
        rcode == Some(ResponseCode::NXDomain)
    }

    /// Its address, if it was given one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        match self.response.as_ref()?.answers.first()?.data {
            RData::A(A(address)) => Some(address),
            _ => None,
        }
    }

    /// The TTL of the first record; what an expired answer has is 30.
    pub fn ttl(&self) -> Option<u32> {
        Some(self.response.as_ref()?.answers.first()?.ttl)
    }

    /// The time in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.took.as_secs_f64() * 1000.0
    }
}

/// As long as glibc waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for the A record of a name, once.
pub async fn ask(server: SocketAddr, name: &str) -> Result<Seen, Failure> {
    ask_from(Ipv4Addr::LOCALHOST, server, name, RecordType::A).await
}

/// Asks for a record from that address of the loopback, once: the whole of 127.0.0.0/8 is ours.
pub async fn ask_from(
    source: Ipv4Addr,
    server: SocketAddr,
    name: &str,
    record_type: RecordType,
) -> Result<Seen, Failure> {
    let asking = || format!("asking for {name}");
    let bytes = question(name, record_type)?.to_vec().tried(asking)?;
    let socket = UdpSocket::bind((source, 0)).await.tried(asking)?;
    socket.connect(server).await.tried(asking)?;
    let start = Instant::now();
    socket.send(&bytes).await.tried(asking)?;
    let mut buffer = [0; 4096];
    let received = timeout(PATIENCE, socket.recv(&mut buffer)).await;
    let took = start.elapsed();
    let response =
        received.ok().and_then(Result::ok).and_then(|length| Message::from_vec(&buffer[..length]).ok());
    Ok(Seen { response, took })
}

/// What is asked; its id is 1.
pub fn question(name: &str, record_type: RecordType) -> Result<Message, Failure> {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).tried(|| format!("reading the name {name:?}"))?;
    message.add_query(Query::query(name, record_type));
    Ok(message)
}

/// A connection from that address.
pub async fn connect_from(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(server).await
}

/// Sends a message over a connection, and waits for the next one that comes.
pub async fn exchange(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    framing::write(stream, message).await?;
    framing::read(stream).await
}
