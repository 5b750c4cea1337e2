//! Sends queries over UDP as fast as they are answered.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::{Receiver, connected_for, send_row};
use super::{Figures, thread_time};
use podlocal_harness::failure::{Failure, WithContext};

/// The number of sockets of a source. The kernel spreads the ports over the threads of a server that has
/// several.
const SOCKETS: usize = 24;

/// Queries in flight on each socket. All together fit into the default receive buffer of a socket, some 270
/// datagrams.
const WINDOW: usize = 8;

/// The time without an answer after which the queries in flight count as lost, during a measurement.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// The queries, the server and the source.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) source: Ipv4Addr,
    /// Queries of the same length.
    pub(crate) questions: Vec<Vec<u8>>,
    /// The time without an answer after which the queries in flight count as lost.
    pub(crate) silence: Duration,
}

impl Load {
    /// Sends all queries repeatedly, for this time.
    pub(crate) fn again_and_again(&self, duration: Duration) -> Result<Figures, Failure> {
        self.ask(duration, true)
    }

    /// Sends each query once; ends when all are answered or lost, and after `longest` at the latest.
    pub(crate) fn once(&self, longest: Duration) -> Result<Figures, Failure> {
        self.ask(longest, false)
    }

    fn ask(&self, duration: Duration, is_endless: bool) -> Result<Figures, Failure> {
        let watching = || "watching sockets".to_owned();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).with_context(watching)?;
        let mut list = List::new(&self.questions, is_endless);
        let mut flows = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            let socket = connected_for(list.length, self.source, self.server)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).with_context(watching)?;
            flows.push(Flow { socket, under_way: 0, heard_at: Instant::now() });
        }
        let (mut receiver, mut figures) = (Receiver::new(), Figures::default());
        let mut events = [EpollEvent::empty(); SOCKETS];
        let (start, busy) = (Instant::now(), thread_time()?);
        let mut checked_at = start;
        for flow in &mut flows {
            flow.fill(&mut list)?;
        }
        while start.elapsed() < duration {
            let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).with_context(watching)?;
            let now = Instant::now();
            for event in &events[..ready] {
                let Some(flow) = flows.get_mut(usize::try_from(event.data()).unwrap_or_default()) else {
                    continue;
                };
                flow.receive(&mut receiver, &mut figures, list.length, now)?;
                flow.fill(&mut list)?;
            }
            if now - checked_at > self.silence {
                checked_at = now;
                for flow in flows.iter_mut().filter(|flow| now - flow.heard_at > self.silence) {
                    figures.lost += flow.under_way as u64;
                    (flow.under_way, flow.heard_at) = (0, now);
                    flow.fill(&mut list)?;
                }
            }
            if list.is_over() && flows.iter().all(|flow| flow.under_way == 0) {
                break;
            }
        }
        let elapsed = start.elapsed().as_secs_f64();
        figures.per_second = figures.answered as f64 / elapsed;
        figures.busy = (thread_time()? - busy) / elapsed;
        Ok(figures)
    }
}

/// The queries, and the position of the next one.
struct List {
    /// All queries, concatenated.
    bytes: Vec<u8>,
    /// The length of each query, in bytes.
    length: usize,
    count: usize,
    next: usize,
    is_endless: bool,
}

impl List {
    fn new(questions: &[Vec<u8>], is_endless: bool) -> Self {
        let (length, count) = (questions.first().map_or(0, Vec::len), questions.len());
        Self { bytes: questions.concat(), length, count, next: 0, is_endless }
    }

    /// The next queries, at most `most`; it does not wrap around at the end of the list.
    fn upcoming(&self, most: usize) -> &[u8] {
        let end = (self.next + most).min(self.count);
        &self.bytes[self.next * self.length..end * self.length]
    }

    fn advance(&mut self, sent: usize) {
        self.next += sent;
        if self.is_endless && self.next == self.count {
            self.next = 0;
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.count
    }
}

struct Flow {
    socket: UdpSocket,
    under_way: usize,
    heard_at: Instant,
}

impl Flow {
    fn receive(
        &mut self,
        receiver: &mut Receiver,
        figures: &mut Figures,
        question: usize,
        now: Instant,
    ) -> Result<(), Failure> {
        for (answer, _) in receiver.receive(&self.socket).with_context(|| "receiving".to_owned())? {
            figures.count(answer, question);
            self.under_way = self.under_way.saturating_sub(1);
            self.heard_at = now;
        }
        Ok(())
    }

    /// Sends as many queries as the window has room for.
    fn fill(&mut self, list: &mut List) -> Result<(), Failure> {
        let upcoming = list.upcoming(WINDOW - self.under_way);
        if upcoming.is_empty() || !send_row(&self.socket, upcoming).with_context(|| "sending".to_owned())? {
            return Ok(());
        }
        let sent = upcoming.len() / list.length;
        list.advance(sent);
        self.under_way += sent;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::questions;
    use podlocal_harness::loopback::upstream::Upstream;

    #[test]
    fn a_list_that_is_asked_once_ends_and_the_other_begins_again() {
        let questions = vec![vec![0; 40]; 10];
        let (mut once, mut endless) = (List::new(&questions, false), List::new(&questions, true));
        for list in [&mut once, &mut endless] {
            assert_eq!(list.upcoming(8).len(), 8 * 40);
            list.advance(8);
            assert_eq!(list.upcoming(8).len(), 2 * 40);
            list.advance(2);
        }
        assert!(once.is_over() && once.upcoming(8).is_empty());
        assert!(!endless.is_over() && endless.upcoming(8).len() == 8 * 40);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_and_refusals_are_counted_apart() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        // The time-out is long, so that nothing counts as lost on a busy machine.
        let (silence, source) = (Duration::from_secs(60), Ipv4Addr::LOCALHOST);
        let load = Load { server: upstream.address, source, questions: questions("hot", 10)?, silence };
        let seen = load.again_and_again(Duration::from_millis(500))?;
        assert!(seen.answered > 0 && seen.failed == 0, "{seen:?}");
        assert_eq!(load.once(Duration::from_secs(60))?.answered, 10);
        upstream.change(|behaviour| behaviour.refusal = Some(2));
        let seen = load.again_and_again(Duration::from_millis(500))?;
        assert!(seen.answered == 0 && seen.failed > 0, "{seen:?}");
        Ok(())
    }
}
