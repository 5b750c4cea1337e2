//! One datagram exchange: a fresh socket and id, read until the matching answer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::asked::{Asked, Reaction};
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

/// Asks `server`; ends with its answer, an error of the socket, or nothing: the question is to be asked over TCP. The caller bounds
/// the time.
///
/// The socket is new, so its port is random (RFC 5452 section 9.2), and connected, so the kernel drops what
/// comes from elsewhere and tells us when nobody listens. What does not match is ignored and the socket
/// listened to further, within the bounds of [`super::doubt`]: a forged answer must not end the exchange.
pub async fn exchange(
    // Not by value: what is given to a future is kept in it for as long as it waits.
    server: &SocketAddr,
    asked: &mut Asked<'_>,
    buffer: &Buffer,
) -> io::Result<Option<Vec<u8>>> {
    let socket = ask(*server, asked)?;
    let (is_again, response) = match listen(&socket, asked, buffer).await? {
        Heard::Response(is_again, response) => (is_again, response),
        Heard::Doubt => return Ok(None),
        Heard::Deaf => {
            drop(socket);
            return std::future::pending().await;
        }
    };
    if is_again {
        socket.send(&asked.bytes()).await?;
        // Boxed, because it is seldom needed.
        let again = Box::pin(timeout(limits::WITHOUT_EDNS_PATIENCE, listen(&socket, asked, buffer)));
        if let Ok(Ok(Heard::Response(_, response))) = again.await {
            return Ok(Some(response));
        }
        asked.failed();
    }
    Ok(Some(response))
}

/// What is not to be ignored.
enum Heard {
    /// A response, and whether the question is to be sent again before it is given.
    Response(bool, Vec<u8>),
    Doubt,
    Deaf,
}

/// What comes first that is not to be ignored.
async fn listen(socket: &UdpSocket, asked: &mut Asked<'_>, buffer: &Buffer) -> io::Result<Heard> {
    loop {
        socket.ready(ARRIVAL).await?;
        if let Some(heard) = receive(socket, asked, buffer)? {
            return Ok(heard);
        }
    }
}

/// A datagram, or an error: that nobody listens there comes as an error alone (epoll(7), EPOLLERR without EPOLLIN), for which who
/// waits for something to read would wait in vain.
const ARRIVAL: Interest = Interest::READABLE.add(Interest::ERROR);

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

/// Takes one datagram, if there is one, and copies it when it is not to be ignored. Nothing waits while the
/// buffer is held.
fn receive(socket: &UdpSocket, asked: &mut Asked<'_>, buffer: &Buffer) -> io::Result<Option<Heard>> {
    // A panic while the buffer was held leaves bytes that the next datagram overwrites.
    let mut buffer = buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
    let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(length) => length,
        Err(Errno::EAGAIN) => {
            // Nothing is there any more: the next arrival wakes us. tokio forgets one kind at a time.
            for interest in [Interest::READABLE, Interest::ERROR] {
                let _ = socket.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let datagram = buffer.get(..length).unwrap_or_default();
    Ok(match asked.receive(datagram, Transport::Udp) {
        Reaction::Doubt => Some(Heard::Doubt),
        Reaction::Deaf => Some(Heard::Deaf),
        reaction => reaction
            .response(|| datagram.to_vec())
            .map(|(is_again, response)| Heard::Response(is_again, response)),
    })
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
        let (buffer, path, (metrics, _)) = (Buffer::default(), Mutex::default(), Metrics::new());
        let mut asked = Asked::new(question, &path, &metrics, false);
        let outcome = timeout(Duration::from_secs(5), exchange(&nobody, &mut asked, &buffer)).await;
        let error = outcome.expect("at once").expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
