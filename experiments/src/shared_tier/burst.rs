//! Many clients that send the same queries at the same time, each query once.

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

use crate::load::batch::{Receiver, Sender, connected, note_arrivals, rcode};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::{connect_from, exchange};

/// A client: its source address, and its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) source: Ipv4Addr,
    pub(super) server: SocketAddr,
}

/// The results of a burst.
#[derive(Debug, Default)]
pub(super) struct BurstResult {
    /// The time for sending all queries.
    pub(super) sending: Duration,
    /// The latencies of the answered queries, ascending: from sending the query to the arrival of the answer.
    pub(super) milliseconds: Vec<f64>,
    /// Answers other than NOERROR and NXDOMAIN.
    pub(super) failed: usize,
    /// Queries that were repeated over TCP.
    pub(super) again: usize,
}

/// The time-out of glibc for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which no answer is read; longer than the goal for the slowest answer.
const READ_AFTER: Duration = Duration::from_millis(180);

/// Sends all queries, and waits until each is answered, at most 5 s. A client without an answer after `again`
/// repeats the query once over TCP, and uses the first answer.
pub(super) async fn ask(
    askers: Vec<Asker>,
    questions: Vec<Vec<u8>>,
    again: Option<Duration>,
) -> Result<BurstResult, Failure> {
    let runtime = Handle::current();
    let measured = tokio::task::spawn_blocking(move || Burst::new(&askers, questions, runtime)?.run(again));
    measured.await.with_context(|| "measuring".to_owned())?
}

/// The state that is prepared before the first query is sent.
struct Burst {
    askers: Vec<Waiting>,
    questions: Arc<Vec<Vec<u8>>>,
    epoll: Epoll,
    runtime: Handle,
    /// The number of expected answers.
    missing: usize,
    seen: BurstResult,
}

struct Waiting {
    asker: Asker,
    socket: UdpSocket,
    /// The send time since 1970, like the kernel's arrival times.
    asked_at: Duration,
    is_answered: Vec<bool>,
}

/// An answer over TCP: the indexes of the client and of the query, the bytes, and the arrival time.
type Late = (usize, usize, Vec<u8>, Duration);

impl Burst {
    fn new(askers: &[Asker], questions: Vec<Vec<u8>>, runtime: Handle) -> Result<Self, Failure> {
        // Each client needs a socket, and each repeated query a connection.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).with_context(|| "reading a limit".to_owned())?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).with_context(|| "raising a limit".to_owned())?;
        let watching = || "watching sockets".to_owned();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).with_context(watching)?;
        let mut waiting = Vec::with_capacity(askers.len());
        for (index, asker) in askers.iter().enumerate() {
            let socket = connected(asker.source, asker.server)?;
            note_arrivals(&socket)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).with_context(watching)?;
            let is_answered = vec![false; questions.len()];
            waiting.push(Waiting { asker: *asker, socket, asked_at: Duration::ZERO, is_answered });
        }
        let missing = askers.len() * questions.len();
        let seen = BurstResult { milliseconds: Vec::with_capacity(missing), ..BurstResult::default() };
        Ok(Self { askers: waiting, questions: Arc::new(questions), epoll, runtime, missing, seen })
    }

    fn run(mut self, again: Option<Duration>) -> Result<BurstResult, Failure> {
        let (mut receiver, (report, late)) = (Receiver::new(), channel());
        let mut events = [EpollEvent::empty(); 512];
        let start = Instant::now();
        self.send()?;
        self.seen.sending = start.elapsed();
        // The time is measured from the last query, so the first queries wait a little longer.
        let mut again_at = again.map(|after| Instant::now() + after);
        // The kernel records the arrival times; reading the answers earlier would take a core from the
        // server.
        self.runtime.block_on(sleep(READ_AFTER));
        while self.missing > 0 && start.elapsed() < ANSWER_TIMEOUT {
            let ready = self
                .epoll
                .wait(&mut events, EpollTimeout::from(5_u8))
                .with_context(|| "waiting".to_owned())?;
            for event in &events[..ready] {
                self.receive(usize::try_from(event.data()).unwrap_or_default(), &mut receiver)?;
            }
            self.take_late(&late);
            // A query with an unread answer is not repeated.
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
                sent +=
                    sender.send(&waiting.socket, &datagrams[sent..]).with_context(|| "sending".to_owned())?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, receiver: &mut Receiver) -> Result<(), Failure> {
        let Some(waiting) = self.askers.get_mut(index) else { return Ok(()) };
        for (answer, came_at) in receiver.receive(&waiting.socket).with_context(|| "receiving".to_owned())? {
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
                        // The receiver has ended when the burst is over.
                        let _ = report.send((index, question, answer, since_1970()));
                    }
                });
            }
        }
    }
}

/// Records an answer. Returns by how many the expected answers decrease.
fn take(
    waiting: &mut Waiting,
    seen: &mut BurstResult,
    question: usize,
    answer: &[u8],
    came_at: Duration,
) -> usize {
    match waiting.is_answered.get_mut(question) {
        Some(is_answered) if !*is_answered => *is_answered = true,
        _ => return 0,
    }
    seen.milliseconds.push(came_at.saturating_sub(waiting.asked_at).as_secs_f64() * 1000.0);
    seen.failed += usize::from(!matches!(rcode(answer), Some(0 | 3)));
    1
}

/// The index of the query for an answer: the id of a query is its index.
fn number_of(answer: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*answer.first()?, *answer.get(1)?])))
}

async fn by_tcp(asker: Asker, question: &[u8]) -> io::Result<Vec<u8>> {
    exchange(&mut connect_from(asker.source, asker.server).await?, question).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_tier::gang::questions;
    use podlocal_harness::loopback::upstream::Upstream;

    /// Ten clients, each with a separate address.
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
    async fn a_client_without_an_answer_retries_over_tcp() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        upstream.change(|behaviour| (behaviour.loss, behaviour.refusal) = ([1000, 0], Some(2)));
        let again = Some(Duration::from_millis(20));
        let seen = ask(askers(upstream.address), questions()?, again).await?;
        assert_eq!((seen.milliseconds.len(), seen.failed, seen.again), (60, 60, 60));
        Ok(())
    }
}
