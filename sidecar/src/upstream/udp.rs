//! One datagram exchange: a fresh socket and id, read until the matching answer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::asked::{Asked, Reaction};
use super::channel::Ticket;
use super::channels::{Channels, Place};
use crate::limits;
use crate::metrics::Transport;

/// Room for the largest datagram, of 65,535 bytes: we ask for 1232, and a server that ignores that is understood too. So large
/// that the C library takes it from the kernel as it is (mallopt(3), `M_MMAP_THRESHOLD`), and what no datagram has touched
/// takes no memory; half of it would be cleared, and so taken, at the start.
const ROOM: usize = 128 << 10;

/// Where datagrams are received, one after another, by every exchange: each waits without a buffer of its own,
/// and takes away no more than its answer.
#[derive(Debug)]
pub struct Buffer(Mutex<Box<[u8]>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Mutex::new(vec![0; ROOM].into_boxed_slice()))
    }
}

impl Buffer {
    /// Takes one datagram. Nothing waits while the buffer is held.
    pub fn receive(&self, socket: &UdpSocket, take: impl FnOnce(&[u8])) -> io::Result<()> {
        // A panic while it was held leaves bytes that the next datagram overwrites.
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        take(buffer.get(..length).unwrap_or_default());
        Ok(())
    }
}

/// Asks that server, which has this address; ends with its answer, an error of the socket, or nothing: the question is to be asked over
/// TCP. The caller bounds the time.
///
/// A new socket has a random port (RFC 5452 section 9.2), and is connected, so the kernel drops what
/// comes from elsewhere and tells us when nobody listens. What does not match is ignored and the socket
/// listened to further, within the bounds of [`super::doubt`]: a forged answer must not end the exchange.
pub async fn exchange(
    server: usize,
    // Not by value: what is given to a future is kept in it for as long as it waits.
    address: &SocketAddr,
    asked: &mut Asked<'_>,
    channels: &Channels,
) -> io::Result<Option<Vec<u8>>> {
    let (mut line, place) = match channels.ask(server, asked, Instant::now())? {
        Place::Shared(ticket) => (Line::Shared(ticket), None),
        Place::New(place) => (Line::New(ask(*address, asked)?), place),
    };
    let (is_again, mut response) = match line.listen(asked, channels.buffer()).await? {
        Heard::Response(is_again, response) => (is_again, response),
        Heard::Doubt => return Ok(None),
        Heard::Deaf => {
            drop(line);
            return std::future::pending().await;
        }
    };
    if is_again {
        line.send(&asked.bytes())?;
        // Boxed, because it is seldom needed.
        let again = Box::pin(timeout(limits::WITHOUT_EDNS_PATIENCE, line.listen(asked, channels.buffer())));
        match again.await {
            Ok(Ok(Heard::Response(_, better))) => response = better,
            _ => asked.failed(),
        }
    }
    if let (Some(place), Line::New(socket), false) = (place, line, asked.is_port_known()) {
        channels.share(server, place, socket, asked.id(), Instant::now());
    }
    Ok(Some(response))
}

/// What a question was sent on.
enum Line {
    New(UdpSocket),
    Shared(Ticket),
}

/// What is not to be ignored.
enum Heard {
    /// A response, and whether the question is to be sent again before it is given.
    Response(bool, Vec<u8>),
    Doubt,
    Deaf,
}

impl Heard {
    /// What a datagram is, unless it is to be ignored.
    fn of(reaction: Reaction, datagram: impl FnOnce() -> Vec<u8>) -> Option<Self> {
        match reaction {
            Reaction::Doubt => Some(Self::Doubt),
            Reaction::Deaf => Some(Self::Deaf),
            reaction => {
                reaction.response(datagram).map(|(is_again, response)| Self::Response(is_again, response))
            }
        }
    }
}

impl Line {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::New(socket) => send(socket, bytes),
            Self::Shared(ticket) => ticket.send(bytes),
        }
    }

    /// What comes first that is not to be ignored.
    async fn listen(&mut self, asked: &mut Asked<'_>, buffer: &Buffer) -> io::Result<Heard> {
        loop {
            let heard = match self {
                Self::New(socket) => {
                    socket.ready(ARRIVAL).await?;
                    take(socket, asked, buffer)?
                }
                Self::Shared(ticket) => {
                    let datagram = ticket.arrived().await?;
                    let heard = Heard::of(asked.receive(&datagram, Transport::Udp), || datagram);
                    if heard.is_some() {
                        ticket.answered();
                    }
                    heard
                }
            };
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }
}

/// Takes one datagram, if there is one, and copies it when it is not to be ignored.
fn take(socket: &UdpSocket, asked: &mut Asked<'_>, buffer: &Buffer) -> io::Result<Option<Heard>> {
    let mut heard = None;
    let judge = |datagram: &[u8]| {
        heard = Heard::of(asked.receive(datagram, Transport::Udp), || datagram.to_vec());
    };
    match buffer.receive(socket, judge) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => forget_readiness(socket),
        Err(error) => return Err(error),
    }
    Ok(heard)
}

/// A datagram, or an error: that nobody listens there comes as an error alone (epoll(7), EPOLLERR without EPOLLIN), for which who
/// waits for something to read would wait in vain.
pub const ARRIVAL: Interest = Interest::READABLE.add(Interest::ERROR);

/// A new socket on which the question was sent. It has room for a datagram, so that is sent before the runtime knows of the
/// socket: through the runtime it would wait to be told so.
///
/// connect(2) gives a socket without a port one by the same function as bind(2) with port 0 (Linux, `inet_autobind`), and so
/// as random a one.
fn ask(server: SocketAddr, asked: &Asked<'_>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&server.into())?;
    socket.send(&asked.bytes())?;
    UdpSocket::from_std(socket.into())
}

/// Sends a datagram. The runtime is not asked whether there is room: it may not have been told yet.
pub fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// Nothing is there any more: the next arrival wakes us. tokio forgets one kind at a time.
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
    use crate::upstream::question::Question;
    use crate::upstream::token::Token;
    use crate::wire::Flags;
    use std::time::Duration;

    #[tokio::test]
    async fn where_nobody_listens_is_known_at_once() {
        // Of the loopback, and nobody else's.
        let nobody = SocketAddr::from(([127, 83, 65, 83], 5353));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let question = Question::new(&key, Token::new().expect("random")).expect("random");
        let (channels, path, (metrics, _)) =
            (Channels::new(1, &Metrics::new().0), Mutex::default(), Metrics::new());
        let mut asked = Asked::new(question, &path, &metrics, false);
        let exchange = exchange(0, &nobody, &mut asked, &channels);
        let outcome = timeout(Duration::from_secs(5), exchange).await;
        let error = outcome.expect("at once").expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
