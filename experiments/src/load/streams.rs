//! Sends queries over TCP as fast as they are answered: several connections, each with several queries in
//! flight.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Figures, thread_time};
use podlocal_harness::failure::{Failure, WithContext};

/// The number of connections, which dnsmasq can serve: it starts at most twenty processes, one for each
/// connection.
const CONNECTIONS: usize = 16;

/// Queries in flight on each connection.
const WINDOW: usize = 8;

/// Sends all queries repeatedly, for this time. A connection that the server closes is reopened, as a client
/// does.
pub(crate) fn again_and_again(
    server: SocketAddr,
    questions: &[Vec<u8>],
    duration: Duration,
) -> Result<Figures, Failure> {
    let watching = || "watching connections".to_owned();
    let frames: Vec<Vec<u8>> = questions.iter().map(|question| framed(question)).collect();
    let length = questions.first().map_or(0, Vec::len);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).with_context(watching)?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for index in 0..CONNECTIONS {
        let next = index * frames.len() / CONNECTIONS;
        connections.push(Connection::open(server, next, &epoll, index)?);
    }
    let mut figures = Figures::default();
    let mut events = [EpollEvent::empty(); CONNECTIONS];
    let mut buffer = vec![0; 16 * 1024];
    let (start, busy) = (Instant::now(), thread_time()?);
    for connection in &mut connections {
        connection.fill(&frames).with_context(|| "sending over TCP".to_owned())?;
    }
    while start.elapsed() < duration {
        let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).with_context(watching)?;
        for event in &events[..ready] {
            let index = usize::try_from(event.data()).unwrap_or_default();
            let Some(connection) = connections.get_mut(index) else { continue };
            let is_open = connection.receive(&mut buffer, &mut figures, length).unwrap_or(false);
            if !is_open || connection.fill(&frames).is_err() {
                figures.lost += connection.under_way as u64;
                *connection = Connection::open(server, connection.next, &epoll, index)?;
                connection.fill(&frames).with_context(|| "sending over TCP".to_owned())?;
            }
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    figures.per_second = figures.answered as f64 / elapsed;
    figures.busy = (thread_time()? - busy) / elapsed;
    Ok(figures)
}

/// The message with its length in two bytes before it (RFC 1035 section 4.2.2).
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

struct Connection {
    stream: TcpStream,
    /// The index of the next query.
    next: usize,
    under_way: usize,
    /// The received part of an incomplete answer.
    partial: Vec<u8>,
}

impl Connection {
    fn open(server: SocketAddr, next: usize, epoll: &Epoll, index: usize) -> Result<Self, Failure> {
        let opening = || format!("connecting to {server}");
        let stream = TcpStream::connect(server).with_context(opening)?;
        stream.set_nodelay(true).with_context(opening)?;
        stream.set_nonblocking(true).with_context(opening)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).with_context(opening)?;
        Ok(Self { stream, next, under_way: 0, partial: Vec::new() })
    }

    /// Reads the available bytes. Returns whether the server may send more.
    fn receive(&mut self, buffer: &mut [u8], figures: &mut Figures, question: usize) -> io::Result<bool> {
        let length = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.partial.extend_from_slice(&buffer[..length]);
        let mut taken = 0;
        while let Some((answer, whole)) = first_frame(&self.partial[taken..]) {
            figures.count(answer, question);
            self.under_way = self.under_way.saturating_sub(1);
            taken += whole;
        }
        self.partial.drain(..taken);
        Ok(true)
    }

    /// Sends as many queries as the window has room for, in one write.
    fn fill(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        let end = (self.next + WINDOW - self.under_way).min(frames.len());
        let batch = frames[self.next..end].concat();
        // The window is far smaller than the socket's send buffer, so this does not block.
        self.stream.write_all(&batch)?;
        self.under_way += end - self.next;
        self.next = end % frames.len();
        Ok(())
    }
}

/// The first message in these bytes, if it is complete, and its length with the prefix.
fn first_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some((rest.get(..length)?, 2 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_all_of_it_has_come() {
        let bytes = [framed(b"first"), framed(b"second")].concat();
        assert_eq!(first_frame(&bytes), Some((&b"first"[..], 7)));
        assert_eq!(first_frame(&bytes[7..]), Some((&b"second"[..], 8)));
        assert!((0..7).all(|length| first_frame(&bytes[..length]).is_none()));
    }
}
