//! Closed loop: sends queries over UDP or TCP as fast as they are answered.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::batch::{Receiver, connected, send};
use super::rcode;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::framing::framed;

/// The number of UDP sockets. The kernel spreads the ports over the threads of a server that has several.
const SOCKETS: usize = 24;

/// The number of TCP connections, which dnsmasq can serve: it starts at most twenty processes, one for each
/// connection.
const CONNECTIONS: usize = 16;

/// Queries in flight on each socket. All together fit into the default receive buffer of a socket, some 270
/// datagrams.
const WINDOW: usize = 8;

/// The queries, the server and the source.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) server: SocketAddr,
    /// The source of datagrams.
    pub(crate) source: Ipv4Addr,
    pub(crate) is_tcp: bool,
    /// Queries of the same length.
    pub(crate) queries: Vec<Vec<u8>>,
    /// The time without an answer after which the queries in flight on a socket count as lost.
    pub(crate) silence: Duration,
}

/// The results of a load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Successful answers per second.
    pub(crate) per_second: f64,
    /// Successful answers.
    pub(crate) answered: u64,
    /// Answers with another RCODE than NOERROR, or without a record.
    pub(crate) failed: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
    /// The share of a core that the load generator used; with 1.0 the generator was measured, not the server.
    pub(crate) busy: f64,
}

impl Closed {
    /// Queries over UDP from the loopback.
    pub(crate) fn new(server: SocketAddr, queries: Vec<Vec<u8>>) -> Self {
        let (source, silence) = (Ipv4Addr::LOCALHOST, Duration::from_millis(200));
        Self { server, source, is_tcp: false, queries, silence }
    }

    /// Sends all queries repeatedly, for this time.
    pub(crate) fn again_and_again(&self, duration: Duration) -> Result<Figures, Failure> {
        self.run(duration, true)
    }

    /// Sends each query once; ends when all are answered or lost, and after `longest` at the latest.
    pub(crate) fn once(&self, longest: Duration) -> Result<Figures, Failure> {
        self.run(longest, false)
    }

    fn run(&self, duration: Duration, is_endless: bool) -> Result<Figures, Failure> {
        let sending = || format!("sending queries to {}", self.server);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).with_context(sending)?;
        let (mut list, length) =
            (List::new(&self.queries, is_endless), self.queries.first().map_or(0, Vec::len));
        let count = if self.is_tcp { CONNECTIONS } else { SOCKETS };
        let flows = (0..count).map(|index| Flow::open(self, &epoll, index));
        let mut flows = flows.collect::<Result<Vec<_>, _>>()?;
        let (mut buffers, mut figures) = ((Receiver::default(), vec![0; 16 * 1024]), Figures::default());
        let mut events = [EpollEvent::empty(); SOCKETS];
        let (start, busy) = (Instant::now(), thread_time()?);
        let mut checked_at = start;
        for flow in &mut flows {
            flow.fill(&mut list).with_context(sending)?;
        }
        while start.elapsed() < duration && !(list.is_over() && flows.iter().all(|flow| flow.in_flight == 0))
        {
            let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).with_context(sending)?;
            let now = Instant::now();
            let mut broken = BTreeSet::new();
            for event in &events[..ready] {
                let index = usize::try_from(event.data()).unwrap_or_default();
                let Some(flow) = flows.get_mut(index) else { continue };
                let is_open = flow.receive(&mut buffers, &mut figures, length, now).unwrap_or(false);
                if !is_open || flow.fill(&mut list).is_err() {
                    broken.insert(index);
                }
            }
            if now - checked_at > self.silence {
                checked_at = now;
                broken.extend((0..count).filter(|index| now - flows[*index].heard_at > self.silence));
            }
            // As a client does, it opens another socket in place of a closed or silent one.
            for index in broken {
                figures.lost += flows[index].in_flight as u64;
                flows[index] = Flow::open(self, &epoll, index)?;
                flows[index].fill(&mut list).with_context(sending)?;
            }
        }
        let elapsed = start.elapsed().as_secs_f64();
        figures.per_second = figures.answered as f64 / elapsed;
        figures.busy = (thread_time()? - busy) / elapsed;
        Ok(figures)
    }
}

impl Figures {
    /// Counts an answer to a query of `query` bytes. A successful answer is longer than the query.
    fn count(&mut self, answer: &[u8], query: usize) {
        let is_good = rcode(answer) == Some(0) && answer.len() > query;
        self.answered += u64::from(is_good);
        self.failed += u64::from(!is_good);
    }
}

/// The queries, and the position of the next one.
struct List<'a> {
    queries: &'a [Vec<u8>],
    next: usize,
    is_endless: bool,
}

impl<'a> List<'a> {
    fn new(queries: &'a [Vec<u8>], is_endless: bool) -> Self {
        Self { queries, next: 0, is_endless }
    }

    /// The next queries, at most `most`; it does not wrap around at the end of the list.
    fn upcoming(&self, most: usize) -> &'a [Vec<u8>] {
        &self.queries[self.next..(self.next + most).min(self.queries.len())]
    }

    fn advance(&mut self, sent: usize) {
        self.next += sent;
        if self.is_endless && self.is_over() {
            self.next = 0;
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.queries.len()
    }
}

struct Flow {
    socket: Socket,
    in_flight: usize,
    heard_at: Instant,
}

enum Socket {
    Udp(UdpSocket),
    /// A connection, and the received part of an incomplete answer.
    Tcp(TcpStream, Vec<u8>),
}

impl Flow {
    fn open(load: &Closed, epoll: &Epoll, index: usize) -> Result<Self, Failure> {
        let opening = || format!("connecting to {}", load.server);
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        let socket = if load.is_tcp {
            let stream = TcpStream::connect(load.server).with_context(opening)?;
            stream.set_nodelay(true).with_context(opening)?;
            stream.set_nonblocking(true).with_context(opening)?;
            epoll.add(&stream, event).with_context(opening)?;
            Socket::Tcp(stream, Vec::new())
        } else {
            let socket = connected(load.source, load.server)?;
            epoll.add(&socket, event).with_context(opening)?;
            Socket::Udp(socket)
        };
        Ok(Self { socket, in_flight: 0, heard_at: Instant::now() })
    }

    /// Receives the available answers. Returns whether the server may send more.
    fn receive(
        &mut self,
        (receiver, buffer): &mut (Receiver, Vec<u8>),
        figures: &mut Figures,
        query: usize,
        now: Instant,
    ) -> io::Result<bool> {
        let mut received = 0;
        let mut count = |answer: &[u8]| {
            figures.count(answer, query);
            received += 1;
        };
        match &mut self.socket {
            Socket::Udp(socket) => receiver.receive(socket)?.for_each(|(answer, _)| count(answer)),
            Socket::Tcp(stream, partial) => {
                let length = match stream.read(buffer) {
                    Ok(0) => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    length => length?,
                };
                partial.extend_from_slice(&buffer[..length]);
                let mut taken = 0;
                while let Some((answer, whole)) = first_frame(&partial[taken..]) {
                    count(answer);
                    taken += whole;
                }
                partial.drain(..taken);
            }
        }
        self.in_flight = self.in_flight.saturating_sub(received);
        self.heard_at = if received > 0 { now } else { self.heard_at };
        Ok(true)
    }

    /// Sends as many queries as the window has room for.
    fn fill(&mut self, list: &mut List<'_>) -> io::Result<()> {
        let upcoming = list.upcoming(WINDOW - self.in_flight);
        let is_sent = match &mut self.socket {
            _ if upcoming.is_empty() => false,
            Socket::Udp(socket) => send(socket, upcoming)?,
            Socket::Tcp(stream, _) => {
                let frames: Vec<u8> = upcoming.iter().flat_map(|query| framed(query)).collect();
                // The window is far smaller than the socket's send buffer, so this does not block.
                stream.write_all(&frames)?;
                true
            }
        };
        if is_sent {
            list.advance(upcoming.len());
            self.in_flight += upcoming.len();
        }
        Ok(())
    }
}

/// The first message in these bytes, if it is complete, and its length with the prefix.
fn first_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some((rest.get(..length)?, 2 + length))
}

/// The user and system time of this thread, in seconds.
fn thread_time() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).with_context("reading this thread's time")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Names;
    use podlocal_harness::loopback::upstream::Upstream;

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_and_refusals_are_counted_apart() -> Result<(), Failure> {
        for is_tcp in [false, true] {
            let upstream = Upstream::start(1).await?;
            // The time-out is long, so that nothing counts as lost on a busy machine.
            let load = Closed::new(upstream.address, Names::new("hot")?.queries(10));
            let load = Closed { silence: Duration::from_secs(60), is_tcp, ..load };
            let seen = load.again_and_again(Duration::from_millis(500))?;
            assert!(seen.answered > 0 && seen.failed == 0, "{seen:?}");
            assert_eq!(load.once(Duration::from_secs(60))?.answered, 10);
            upstream.change(|behaviour| behaviour.refusal = Some(2));
            let seen = load.again_and_again(Duration::from_millis(500))?;
            assert!(seen.answered == 0 && seen.failed > 0, "{seen:?}");
        }
        Ok(())
    }
}
