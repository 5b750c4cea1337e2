//! Many askers that ask the same questions at the same instant, once.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Channel, Sender as Report, channel};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use podlocal_harness::time::since_1970;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::failure::{Failure, Tried};
use crate::faults::client::{connect_from, exchange};
use crate::load::batch::{Receiver, Sender, connected, note_arrivals, rcode};

/// One that asks: from where, and whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) source: Ipv4Addr,
    pub(super) server: SocketAddr,
}

/// What the askers saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How long it took to send all questions.
    pub(super) sending: Duration,
    /// For each question that was answered, from its sending to the arrival of its answer, in order of size.
    pub(super) milliseconds: Vec<f64>,
    /// Answers other than NOERROR and NXDOMAIN.
    pub(super) failed: usize,
    /// Questions that were asked again by TCP.
    pub(super) again: usize,
}

/// As long as glibc waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing is read: longer than the slowest answer may take that is not late.
const READ_AFTER: Duration = Duration::from_millis(180);

/// Asks, and waits until every question is answered, 5 s at most. Who has no answer after `again` asks once more, by
/// TCP, and takes what comes first.
pub(super) async fn ask(
    askers: Vec<Asker>,
    questions: Vec<Vec<u8>>,
    again: Option<Duration>,
) -> Result<Seen, Failure> {
    let runtime = Handle::current();
    let measured = tokio::task::spawn_blocking(move || Burst::new(&askers, questions, runtime)?.run(again));
    measured.await.tried(|| "measuring".to_owned())?
}

/// All that is prepared before the first question is sent.
struct Burst {
    askers: Vec<Waiting>,
    questions: Arc<Vec<Vec<u8>>>,
    epoll: Epoll,
    runtime: Handle,
    /// How many answers are awaited.
    missing: usize,
    seen: Seen,
}

struct Waiting {
    asker: Asker,
    socket: UdpSocket,
    /// Since 1970, as the kernel's times of arrival are.
    asked_at: Duration,
    is_answered: Vec<bool>,
}

/// Of an answer over TCP: whose, to which question, its bytes, and when it came.
type Late = (usize, usize, Vec<u8>, Duration);

impl Burst {
    fn new(askers: &[Asker], questions: Vec<Vec<u8>>, runtime: Handle) -> Result<Self, Failure> {
        // A socket for each, and a connection for each question that is asked again.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).tried(|| "reading a limit".to_owned())?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).tried(|| "raising a limit".to_owned())?;
        let watching = || "watching sockets".to_owned();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).tried(watching)?;
        let mut waiting = Vec::with_capacity(askers.len());
        for (index, asker) in askers.iter().enumerate() {
            let socket = connected(asker.source, asker.server)?;
            note_arrivals(&socket)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).tried(watching)?;
            let is_answered = vec![false; questions.len()];
            waiting.push(Waiting { asker: *asker, socket, asked_at: Duration::ZERO, is_answered });
        }
        let missing = askers.len() * questions.len();
        let seen = Seen { milliseconds: Vec::with_capacity(missing), ..Seen::default() };
        Ok(Self { askers: waiting, questions: Arc::new(questions), epoll, runtime, missing, seen })
    }

    fn run(mut self, again: Option<Duration>) -> Result<Seen, Failure> {
        let (mut receiver, (report, late)) = (Receiver::new(), channel());
        let mut events = [EpollEvent::empty(); 512];
        let start = Instant::now();
        self.send()?;
        self.seen.sending = start.elapsed();
        // From the last question on: the first ones wait a little longer.
        let mut again_at = again.map(|after| Instant::now() + after);
        // The kernel has noted when answers come; reading them meanwhile would take a core from who answers.
        self.runtime.block_on(sleep(READ_AFTER));
        while self.missing > 0 && start.elapsed() < PATIENCE {
            let ready =
                self.epoll.wait(&mut events, EpollTimeout::from(5_u8)).tried(|| "waiting".to_owned())?;
            for event in &events[..ready] {
                self.receive(usize::try_from(event.data()).unwrap_or_default(), &mut receiver)?;
            }
            self.take_late(&late);
            // Who has an answer that is not read yet does not ask again.
            if ready == 0 && again_at.take_if(|at| Instant::now() >= *at).is_some() {
                self.ask_again(&report);
            }
        }
        self.seen.milliseconds.sort_by(f64::total_cmp);
        Ok(self.seen)
    }

    fn send(&mut self) -> Result<(), Failure> {
        let datagrams: Vec<_> = self.questions.iter().map(|question| [IoSlice::new(question)]).collect();
        let mut sender = Sender::new();
        for waiting in &mut self.askers {
            waiting.asked_at = since_1970();
            let mut sent = 0;
            while sent < datagrams.len() {
                sent += sender.send(&waiting.socket, &datagrams[sent..]).tried(|| "sending".to_owned())?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, receiver: &mut Receiver) -> Result<(), Failure> {
        let Some(waiting) = self.askers.get_mut(index) else { return Ok(()) };
        for (answer, came_at) in receiver.receive(&waiting.socket).tried(|| "receiving".to_owned())? {
            if let Some(question) = number_of(answer) {
                self.missing -= take(waiting, &mut self.seen, question, answer, came_at);
            }
        }
        Ok(())
    }

    fn take_late(&mut self, late: &Channel<Late>) {
        for (index, question, answer, came_at) in late.try_iter() {
            if let Some(waiting) = self.askers.get_mut(index) {
                self.missing -= take(waiting, &mut self.seen, question, &answer, came_at);
            }
        }
    }

    fn ask_again(&mut self, report: &Report<Late>) {
        for (index, waiting) in self.askers.iter().enumerate() {
            let silent = waiting.is_answered.iter().enumerate().filter(|(_, is_answered)| !**is_answered);
            for (question, _) in silent {
                let (asker, questions, report) = (waiting.asker, Arc::clone(&self.questions), report.clone());
                self.seen.again += 1;
                self.runtime.spawn(async move {
                    if let Ok(answer) = by_tcp(asker, &questions[question]).await {
                        // Nobody listens any more when all is over.
                        let _ = report.send((index, question, answer, since_1970()));
                    }
                });
            }
        }
    }
}

/// Notes an answer; how many are awaited no longer.
fn take(waiting: &mut Waiting, seen: &mut Seen, question: usize, answer: &[u8], came_at: Duration) -> usize {
    match waiting.is_answered.get_mut(question) {
        Some(is_answered) if !*is_answered => *is_answered = true,
        _ => return 0,
    }
    seen.milliseconds.push(came_at.saturating_sub(waiting.asked_at).as_secs_f64() * 1000.0);
    seen.failed += usize::from(!matches!(rcode(answer), Some(0 | 3)));
    1
}

/// A question's id is its place in the list.
fn number_of(answer: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*answer.first()?, *answer.get(1)?])))
}

async fn by_tcp(asker: Asker, question: &[u8]) -> io::Result<Vec<u8>> {
    exchange(&mut connect_from(asker.source, asker.server).await?, question).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::upstream::Upstream;
    use crate::shared_tier::gang::questions;

    /// Ten askers, each with an address of its own.
    fn askers(server: SocketAddr) -> Vec<Asker> {
        (1..=10).map(|number| Asker { source: Ipv4Addr::new(127, 1, 0, number), server }).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_asker_sees_every_answer_once() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        let seen = ask(askers(upstream.address), questions()?, None).await?;
        assert_eq!((seen.milliseconds.len(), seen.failed, seen.again), (60, 0, 0));
        assert!(seen.milliseconds.is_sorted() && seen.milliseconds.iter().all(|time| *time > 0.0));
        assert_eq!(upstream.asked(), 60);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_gets_no_datagram_asks_again_by_tcp() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        upstream.change(|manner| (manner.loss, manner.refusal) = ([1000, 0], Some(2)));
        let again = Some(Duration::from_millis(20));
        let seen = ask(askers(upstream.address), questions()?, again).await?;
        assert_eq!((seen.milliseconds.len(), seen.failed, seen.again), (60, 60, 60));
        Ok(())
    }
}
