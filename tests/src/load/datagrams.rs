//! Asks by UDP as fast as it is answered.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::{Receiver, connected, send_together};
use super::{Figures, thread_time};
use crate::failure::{Failure, Tried};

/// Sockets of a source: the kernel spreads the ports over the threads of a server that has several.
const SOCKETS: usize = 24;

/// Questions under way on each socket. All together fit into the receive buffer that a socket has by default, some 270
/// datagrams.
const WINDOW: usize = 8;

/// After so much silence what is under way is taken for lost.
const SILENCE: Duration = Duration::from_millis(200);

/// What is asked, whom, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) source: Ipv4Addr,
    /// Of one length.
    pub(crate) questions: Vec<Vec<u8>>,
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
        let mut flows = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            let socket = connected(self.source, self.server)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).tried(watching)?;
            flows.push(Flow { socket, under_way: 0, heard_at: Instant::now() });
        }
        let mut list = List::new(&self.questions, is_endless);
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
            if now - checked_at > SILENCE {
                checked_at = now;
                for flow in flows.iter_mut().filter(|flow| now - flow.heard_at > SILENCE) {
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
struct List<'a> {
    datagrams: Vec<IoSlice<'a>>,
    next: usize,
    is_endless: bool,
    /// Of each question, in bytes.
    length: usize,
}

impl<'a> List<'a> {
    fn new(questions: &'a [Vec<u8>], is_endless: bool) -> Self {
        let datagrams = questions.iter().map(|question| IoSlice::new(question)).collect();
        Self { datagrams, next: 0, is_endless, length: questions.first().map_or(0, Vec::len) }
    }

    /// The next ones, `most` at most; those at the beginning of the list wait for the next time.
    fn upcoming(&self, most: usize) -> &[IoSlice<'a>] {
        let end = (self.next + most).min(self.datagrams.len());
        &self.datagrams[self.next..end]
    }

    fn advance(&mut self, sent: usize) {
        self.next += sent;
        if self.is_endless && self.next == self.datagrams.len() {
            self.next = 0;
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.datagrams.len()
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
    fn fill(&mut self, list: &mut List<'_>) -> Result<(), Failure> {
        let upcoming = list.upcoming(WINDOW - self.under_way);
        if upcoming.is_empty() {
            return Ok(());
        }
        let sent =
            send_together(&self.socket, upcoming, list.length as u16).tried(|| "sending".to_owned())?;
        list.advance(sent);
        self.under_way += sent;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_asked_once_ends_and_the_other_begins_again() {
        let questions = vec![vec![0; 40]; 10];
        let (mut once, mut endless) = (List::new(&questions, false), List::new(&questions, true));
        for list in [&mut once, &mut endless] {
            assert_eq!(list.upcoming(8).len(), 8);
            list.advance(8);
            assert_eq!(list.upcoming(8).len(), 2);
            list.advance(2);
        }
        assert!(once.is_over() && once.upcoming(8).is_empty());
        assert!(!endless.is_over() && endless.upcoming(8).len() == 8);
    }
}
