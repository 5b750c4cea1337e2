//! The datagrams of a query: sent, and received until one answers it.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::outgoing::{OutgoingQuery, Reaction};
use super::shared_socket::Ticket;
use super::shared_socket::queries::Delivery;
use crate::limits;
use crate::metrics::Transport;

/// Waits for the response to a query; returns it, an error of the socket, or `None`: the query is to be sent
/// over TCP. The caller limits the time.
///
/// The socket has a random port (RFC 5452 section 9.2), and is connected, so the kernel drops datagrams from
/// other addresses and reports when no server listens. A datagram that does not match is ignored and the
/// socket still read, within the limits of [`super::spoofing`]: a forged answer must not end the exchange.
pub async fn response(mut ticket: Ticket, query: &mut OutgoingQuery<'_>) -> io::Result<Option<Vec<u8>>> {
    let (must_resend, mut response) = match receive_response(&mut ticket, query).await? {
        Received::Response(must_resend, response) => (must_resend, response),
        Received::RetryOverTcp => return Ok(None),
        Received::StopListening => {
            drop(ticket);
            return std::future::pending().await;
        }
    };
    if must_resend {
        ticket.send(&query.bytes())?;
        // Boxed, because it is rarely needed.
        let again = timeout(limits::WITHOUT_EDNS_TIMEOUT, receive_response(&mut ticket, query));
        match Box::pin(again).await {
            Ok(Ok(Received::Response(_, better))) => response = better,
            _ => query.record_fallback_failure(),
        }
    }
    ticket.mark_answered(query.is_port_known());
    Ok(Some(response))
}

/// A datagram that is not ignored.
enum Received {
    /// A response, and whether to resend the query without EDNS before returning it.
    Response(bool, Vec<u8>),
    RetryOverTcp,
    StopListening,
}

/// The first datagram that is not ignored.
async fn receive_response(ticket: &mut Ticket, query: &mut OutgoingQuery<'_>) -> io::Result<Received> {
    loop {
        let received = match ticket.next_delivery().await {
            Delivery::Datagram(datagram) => received(query.receive(&datagram, Transport::Udp), datagram),
            Delivery::NearMisses(count) => {
                // Until one of them has a consequence.
                (0..count).find_map(|_| received(query.near_miss(), Vec::new()))
            }
            Delivery::Undelivered(kind) => return Err(kind.into()),
        };
        if let Some(received) = received {
            return Ok(received);
        }
    }
}

/// `None`: the datagram is ignored.
fn received(reaction: Reaction, datagram: Vec<u8>) -> Option<Received> {
    match reaction {
        Reaction::RetryOverTcp => Some(Received::RetryOverTcp),
        Reaction::StopListening => Some(Received::StopListening),
        reaction => reaction
            .response(|| datagram)
            .map(|(must_resend, response)| Received::Response(must_resend, response)),
    }
}

/// Datagrams that are received with one system call.
pub const DATAGRAMS: usize = 8;

/// Large enough for the largest datagram, of 65,535 bytes: the sidecar asks for 1232, and also reads the
/// answer of a server that ignores that.
const DATAGRAM_ROOM: usize = 64 << 10;

thread_local! {
    static RECEIVER: RefCell<Receiver> = RefCell::new(Receiver {
        // The C library allocates a block of this size with mmap (mallopt(3), `M_MMAP_THRESHOLD`), so that
        // pages that no datagram has touched use no memory.
        bytes: vec![0; DATAGRAMS * DATAGRAM_ROOM].into_boxed_slice(),
        headers: MultiHeaders::preallocate(DATAGRAMS, None),
        lengths: [0; DATAGRAMS],
    });
}

/// The buffers into which the exchanges of this thread receive datagrams, one after another: none needs a
/// buffer of its own while it waits.
struct Receiver {
    bytes: Box<[u8]>,
    headers: MultiHeaders<()>,
    lengths: [usize; DATAGRAMS],
}

/// Receives up to [`DATAGRAMS`] datagrams, which `take` may change; returns their number.
pub fn receive(socket: &UdpSocket, mut take: impl FnMut(&mut [u8])) -> io::Result<usize> {
    RECEIVER.with_borrow_mut(|Receiver { bytes, headers, lengths }| {
        let mut buffers = bytes.chunks_exact_mut(DATAGRAM_ROOM);
        let mut slices: [_; DATAGRAMS] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (length, message) in lengths.iter_mut().zip(messages) {
            *length = message.bytes;
            count += 1;
        }
        for (buffer, length) in bytes.chunks_exact_mut(DATAGRAM_ROOM).zip(lengths).take(count) {
            take(buffer.get_mut(..*length).unwrap_or_default());
        }
        Ok(count)
    })
}

/// Calls that with a buffer for the message of a query.
pub fn with_message<T>(call: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    MESSAGE.with_borrow_mut(call)
}

/// A datagram or an error. "Connection refused" arrives as an error alone (epoll(7), EPOLLERR without
/// EPOLLIN), which a task that waits for readability would miss.
pub const READABLE_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

/// A new socket on which the datagram was sent. A new socket has room for a datagram, so it is sent before the
/// runtime knows the socket: through the runtime it would have to wait for readiness.
///
/// connect(2) binds a socket without a port by the same function as bind(2) with port 0 (Linux,
/// `inet_autobind`), so the port is as random.
pub fn send_from_new_socket(server: SocketAddr, bytes: &[u8]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&server.into())?;
    socket.send(bytes)?;
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
    use crate::upstream::shared_sockets::SharedSockets;
    use crate::wire::Flags;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_refused_datagram_is_reported_immediately() {
        // An address of the loopback that no other test uses.
        let nobody = SocketAddr::from(([127, 83, 65, 83], 5353));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
        let (path, metrics, now) = (Mutex::default(), Metrics::new().0, Instant::now());
        let mut query = OutgoingQuery::new(question, &path, &metrics, false, now);
        let shared_sockets = SharedSockets::new(1, &Arc::default(), &metrics);
        let sent = shared_sockets.send(0, nobody, false, |id, out| query.write_with_id(id, out), now);
        let (shared, sent) = sent.expect("a socket");
        let ticket = shared.ticket(sent, key.question(), now);
        let outcome = timeout(Duration::from_secs(5), response(ticket, &mut query)).await;
        let error = outcome.expect("at once").expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
