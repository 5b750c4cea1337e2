//! Asks by UDP as fast as it is answered.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::{Receiver, connected_for, send_row};
use super::{Figures, thread_time};
use crate::failure::{Failure, Tried};

/// Sockets of a source: the kernel spreads the ports over the threads of a server that has several.
const SOCKETS: usize = 24;

/// Questions under way on each socket. All together fit into the receive buffer that a socket has by default, some 270
/// datagrams.
const WINDOW: usize = 8;

/// The silence after which what is under way is taken for lost, where a figure is measured.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// What is asked, whom, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) source: Ipv4Addr,
    /// Of one length.
    pub(crate) questions: Vec<Vec<u8>>,
    /// After so much of it what is under way is taken for lost.
    pub(crate) silence: Duration,
}

impl Load {
    /// Asks all of them again and again, for that long.
    pub(crate) fn again_and_again(&self, duration: Duration) -> Result<Figures, Failure> {
        self.ask(duration, true)
    }

    /// Asks each once; ends when all are answered or lost, after `longest` at most.
    pub(crate) fn once(&self, longest: Duration) -> Result<Figures, Failure> {
        self.ask(longest, false)
    }

    fn ask(&self, duration: Duration, is_endless: bool) -> Result<Figures, Failure> {
        let watching = || "watching sockets".to_owned();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).tried(watching)?;
        let mut list = List::new(&self.questions, is_endless);
        let mut flows = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            let socket = connected_for(list.length, self.source, self.server)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).tried(watching)?;
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
            let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).tried(watching)?;
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

/// The questions, and which is next.
struct List {
    /// In a row.
    bytes: Vec<u8>,
    /// Of each question, in bytes.
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

    /// The next ones, `most` at most; those at the beginning of the list wait for the next time.
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
        for (answer, _) in receiver.receive(&self.socket).tried(|| "receiving".to_owned())? {
            figures.count(answer, question);
            self.under_way = self.under_way.saturating_sub(1);
            self.heard_at = now;
        }
        Ok(())
    }

    /// As many questions as the window has room for.
    fn fill(&mut self, list: &mut List) -> Result<(), Failure> {
        let upcoming = list.upcoming(WINDOW - self.under_way);
        if upcoming.is_empty() || !send_row(&self.socket, upcoming).tried(|| "sending".to_owned())? {
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
    use crate::faults::upstream::Upstream;
    use crate::load::questions;

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
    async fn what_is_answered_is_counted_and_what_is_refused_apart() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        // However busy the machine is, nothing is taken for lost.
        let (silence, source) = (Duration::from_secs(60), Ipv4Addr::LOCALHOST);
        let load = Load { server: upstream.address, source, questions: questions("hot", 10)?, silence };
        let seen = load.again_and_again(Duration::from_millis(500))?;
        assert!(seen.answered > 0 && seen.failed == 0, "{seen:?}");
        assert_eq!(load.once(Duration::from_secs(60))?.answered, 10);
        upstream.change(|manner| manner.refusal = Some(2));
        let seen = load.again_and_again(Duration::from_millis(500))?;
        assert!(seen.answered == 0 && seen.failed > 0, "{seen:?}");
        Ok(())
    }
}
