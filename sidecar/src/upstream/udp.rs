//! One query over UDP: a new or shared socket and a random id, read until the matching answer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::outgoing::{OutgoingQuery, Reaction};
use super::shared_socket::Ticket;
use super::shared_sockets::{SharedSockets, SocketChoice};
use crate::limits;
use crate::metrics::Transport;

/// Large enough for the largest datagram, of 65,535 bytes: the sidecar asks for 1232, and also reads the
/// answer of a server that ignores that. The C library allocates a block of this size with mmap (mallopt(3),
/// `M_MMAP_THRESHOLD`), so that pages that no datagram has touched use no memory. A block of half the size
/// would be cleared at startup, and so use memory.
const BUFFER_SIZE: usize = 128 << 10;

/// The buffer into which all exchanges receive datagrams, one after another: none needs a buffer of its own
/// while it waits, and each copies its answer only.
#[derive(Debug)]
pub struct Buffer(Mutex<Box<[u8]>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Mutex::new(vec![0; BUFFER_SIZE].into_boxed_slice()))
    }
}

impl Buffer {
    /// Receives one datagram. Nothing waits while the buffer is locked.
    pub fn receive(&self, socket: &UdpSocket, take: impl FnOnce(&[u8])) -> io::Result<()> {
        // A panic under the lock leaves bytes that the next datagram overwrites.
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        take(buffer.get(..length).unwrap_or_default());
        Ok(())
    }
}

/// Queries a server at that address; returns its answer, an error of the socket, or `None`: the query is to
/// be sent over TCP. The caller limits the time.
///
/// A new socket has a random port (RFC 5452 section 9.2), and is connected, so the kernel drops datagrams
/// from other addresses and reports when no server listens. A datagram that does not match is ignored and the
/// socket still read, within the limits of [`super::spoofing`]: a forged answer must not end the exchange.
pub async fn exchange(
    server: usize,
    // Not by value: a future keeps its arguments for as long as it waits.
    address: &SocketAddr,
    query: &mut OutgoingQuery<'_>,
    shared_sockets: &SharedSockets,
) -> io::Result<Option<Vec<u8>>> {
    let (mut socket, slot) = match shared_sockets.ask(server, query, Instant::now())? {
        SocketChoice::Shared(ticket) => (QuerySocket::Shared(ticket), None),
        SocketChoice::New(slot) => (QuerySocket::New(send_from_new_socket(*address, query)?), slot),
    };
    let (must_resend, mut response) = match socket.receive_response(query, shared_sockets.buffer()).await? {
        Received::Response(must_resend, response) => (must_resend, response),
        Received::RetryOverTcp => return Ok(None),
        Received::StopListening => {
            drop(socket);
            return std::future::pending().await;
        }
    };
    if must_resend {
        socket.send(&query.bytes())?;
        // Boxed, because it is rarely needed.
        let again = Box::pin(timeout(
            limits::WITHOUT_EDNS_TIMEOUT,
            socket.receive_response(query, shared_sockets.buffer()),
        ));
        match again.await {
            Ok(Ok(Received::Response(_, better))) => response = better,
            _ => query.record_fallback_failure(),
        }
    }
    if let (Some(slot), QuerySocket::New(socket), false) = (slot, socket, query.is_port_known()) {
        shared_sockets.share(server, slot, socket, query.id(), Instant::now());
    }
    Ok(Some(response))
}

/// The socket on which a query was sent.
enum QuerySocket {
    New(UdpSocket),
    Shared(Ticket),
}

/// A datagram that is not ignored.
enum Received {
    /// A response, and whether to resend the query without EDNS before returning it.
    Response(bool, Vec<u8>),
    RetryOverTcp,
    StopListening,
}

impl Received {
    /// The kind of a datagram; `None` when it is ignored.
    fn of(reaction: Reaction, datagram: impl FnOnce() -> Vec<u8>) -> Option<Self> {
        match reaction {
            Reaction::RetryOverTcp => Some(Self::RetryOverTcp),
            Reaction::StopListening => Some(Self::StopListening),
            reaction => reaction
                .response(datagram)
                .map(|(must_resend, response)| Self::Response(must_resend, response)),
        }
    }
}

impl QuerySocket {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::New(socket) => send(socket, bytes),
            Self::Shared(ticket) => ticket.send(bytes),
        }
    }

    /// The first datagram that is not ignored.
    async fn receive_response(
        &mut self,
        query: &mut OutgoingQuery<'_>,
        buffer: &Buffer,
    ) -> io::Result<Received> {
        loop {
            let received = match self {
                Self::New(socket) => {
                    socket.ready(READABLE_OR_ERROR).await?;
                    receive_one(socket, query, buffer)?
                }
                Self::Shared(ticket) => {
                    let datagram = ticket.next_delivery().await?;
                    let received = Received::of(query.receive(&datagram, Transport::Udp), || datagram);
                    if received.is_some() {
                        ticket.mark_answered();
                    }
                    received
                }
            };
            if let Some(received) = received {
                return Ok(received);
            }
        }
    }
}

/// Receives one datagram, if there is one, and copies it unless it is ignored.
fn receive_one(
    socket: &UdpSocket,
    query: &mut OutgoingQuery<'_>,
    buffer: &Buffer,
) -> io::Result<Option<Received>> {
    let mut received = None;
    let judge = |datagram: &[u8]| {
        received = Received::of(query.receive(datagram, Transport::Udp), || datagram.to_vec());
    };
    match buffer.receive(socket, judge) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => forget_readiness(socket),
        Err(error) => return Err(error),
    }
    Ok(received)
}

/// A datagram or an error. "Connection refused" arrives as an error alone (epoll(7), EPOLLERR without
/// EPOLLIN), which a task that waits for readability would miss.
pub const READABLE_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

/// A new socket on which the query was sent. A new socket has room for a datagram, so the query is sent
/// before the runtime knows the socket: through the runtime it would have to wait for readiness.
///
/// connect(2) binds a socket without a port by the same function as bind(2) with port 0 (Linux,
/// `inet_autobind`), so the port is as random.
fn send_from_new_socket(server: SocketAddr, query: &OutgoingQuery<'_>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&server.into())?;
    socket.send(&query.bytes())?;
    UdpSocket::from_std(socket.into())
}

/// Sends a datagram without waiting for writability: the runtime may not know yet that the socket is
/// writable.
pub fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// Tells the runtime that the socket has nothing to read, so that the next arrival wakes the task. tokio
/// clears one kind of readiness at a time.
pub fn forget_readiness(socket: &UdpSocket) {
    for interest in [Interest::READABLE, Interest::ERROR] {
        let _ = socket.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Key;
    use crate::metrics::Metrics;
    use crate::upstream::loop_detection::LoopMarker;
    use crate::upstream::query_message::QueryMessage;
    use crate::wire::Flags;
    use std::time::Duration;

    #[tokio::test]
    async fn a_refused_datagram_is_reported_immediately() {
        // An address of the loopback that no other test uses.
        let nobody = SocketAddr::from(([127, 83, 65, 83], 5353));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
        let (shared_sockets, path, (metrics, _)) =
            (SharedSockets::new(1, &Metrics::new().0), Mutex::default(), Metrics::new());
        let mut query = OutgoingQuery::new(question, &path, &metrics, false);
        let exchange = exchange(0, &nobody, &mut query, &shared_sockets);
        let outcome = timeout(Duration::from_secs(5), exchange).await;
        let error = outcome.expect("at once").expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
