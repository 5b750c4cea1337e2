//! One TCP connection.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use podlocal_dns::wire;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::super::late::Late;
use super::super::{Places, Service, Step};
use super::frames::{BUFFERS, Buffers, GATHERED, LARGEST_KEPT, LENGTH, READ_AT_ONCE, push_frame, write};
use crate::connections::{Held, Seat, part};
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

pub(super) struct Connection<U: Upstream> {
    stream: TcpStream,
    source: IpAddr,
    seat: Arc<Seat>,
    service: Arc<Service<U>>,
    /// Bytes that have arrived and are not answered: usually part of a message.
    input: Vec<u8>,
    /// Answers that the client does not read.
    output: Vec<u8>,
    /// The memory of these two.
    held: Option<Held>,
    misses: Misses<U>,
    /// The client sends no more, or the sidecar reads no more.
    is_ending: bool,
    /// When a message last arrived whole, or all answers had been taken.
    since: Instant,
}

/// The queries that wait, each in a task. They keep their places when the connection ends: otherwise a client
/// could have any number of exchanges in flight.
struct Misses<U: Upstream>(JoinSet<Option<Answered<U>>>);

/// A query, its answer, and the memory of the answer until it is written.
type Answered<U> = (Late<U>, Resolution, Held);

impl<U: Upstream> Drop for Misses<U> {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

/// Why a connection ends.
enum Ended {
    /// The client has closed its side, and all its answers are written.
    Over,
    /// The same, because of the drain.
    Drained,
    /// The sidecar disconnects: the client is silent or does not read its answers, or memory is short.
    CutOff,
}

impl<U: Upstream> Connection<U> {
    pub(super) fn new(stream: TcpStream, source: IpAddr, seat: Arc<Seat>, service: Arc<Service<U>>) -> Self {
        Self {
            stream,
            source,
            seat,
            service,
            input: Vec::new(),
            output: Vec::new(),
            held: None,
            misses: Misses(JoinSet::new()),
            is_ending: false,
            since: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, mut drain: Drain) {
        let ended = self.serve(&mut drain).await;
        drop(drain);
        match ended {
            Ok(Ended::Over) => part(self.stream).await,
            Ok(Ended::Drained) => {
                // The process may end before the client has everything.
                let _ = SockRef::from(&self.stream).set_linger(None);
                let _ = self.stream.shutdown().await; // fails if the client has closed first
            }
            Ok(Ended::CutOff) => {}
            Err(error) => tracing::debug!(%error, "a connection ended early"),
        }
    }

    async fn serve(&mut self, drain: &mut Drain) -> io::Result<Ended> {
        let mut is_drained = false;
        let mut expiry = pin!(sleep_until(self.since + limits::TCP_IDLE));
        loop {
            if self.is_ending && self.output.is_empty() && self.queries() == 0 {
                return Ok(if is_drained { Ended::Drained } else { Ended::Over });
            }
            let is_blocked = !self.output.is_empty();
            let may_read = !self.is_ending && self.queries() < limits::QUERIES_PER_CONNECTION;
            let mut may_be_more = false;
            tokio::select! {
                biased;
                () = drain.begun(), if !self.is_ending => (self.is_ending, is_drained) = (true, true),
                Some(first) = self.misses.0.join_next(), if !is_blocked => self.answer_misses(first)?,
                ready = readiness(&mut self.stream, &mut self.input, is_blocked), if is_blocked || may_read => {
                    match ready? {
                        None => self.flush()?,
                        Some(count) => (self.is_ending, may_be_more) = (count == 0, count == READ_AT_ONCE),
                    }
                }
                () = &mut expiry => {
                    let (now, at) = (Instant::now(), self.expires_at());
                    if at <= now {
                        self.service.metrics.limits.inc(Limit::TcpIdle);
                        return Ok(if self.output.is_empty() { Ended::Over } else { Ended::CutOff });
                    }
                    expiry.as_mut().reset(at);
                }
            }
            self.answer()?;
            if !self.account() {
                return Ok(Ended::CutOff);
            }
            if may_be_more {
                // A flood of hits must not delay other connections.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Answers the messages that have arrived completely, while the client reads the answers.
    fn answer(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while self.output.is_empty() {
            let mut input = mem::take(&mut self.input);
            let taken = BUFFERS.with_borrow_mut(|buffers| self.answer_some(&input, now, buffers))?;
            if taken == 0 {
                self.input = input;
                break;
            }
            self.input = input.split_off(taken);
            self.since = now;
        }
        Ok(())
    }

    /// Answers messages until the answers have [`GATHERED`] bytes. Returns how many bytes of the input it
    /// used.
    fn answer_some(
        &mut self,
        input: &[u8],
        now: Instant,
        Buffers { answers, answer, .. }: &mut Buffers,
    ) -> io::Result<usize> {
        answers.clear();
        let mut taken = 0;
        while answers.len() < GATHERED
            && self.queries() < limits::QUERIES_PER_CONNECTION
            && let Some(message) = wire::first_message(input.get(taken..).unwrap_or_default())
        {
            taken += LENGTH + message.len();
            match self.service.step(message, self.source, Transport::Tcp, now.into_std(), answer) {
                Step::Silence(_) => {}
                Step::Answer(_) => push_frame(answers, answer),
                Step::Wait(query, _, places) => self.wait(&query, places),
            }
        }
        self.write(answers)?;
        Ok(taken)
    }

    /// Starts a task that waits for the answer to a miss.
    fn wait(&mut self, query: &Query<'_>, places: Places) {
        let late = Late::new(&self.service, query, places);
        let (source, seat) = (self.source, Arc::clone(&self.seat));
        self.misses.0.spawn(async move {
            let resolution = late.resolve(source).await;
            let held = seat.hold(resolution.size())?;
            Some((late, resolution, held))
        });
    }

    /// Writes the answer to a miss, and further ones that have arrived meanwhile.
    fn answer_misses(&mut self, first: Result<Option<Answered<U>>, JoinError>) -> io::Result<()> {
        self.since = Instant::now();
        BUFFERS.with_borrow_mut(|Buffers { answers, answer, .. }| {
            answers.clear();
            let mut next = Some(first);
            while let Some(ended) = next {
                // Otherwise the task has panicked, or memory is short and this connection is being closed.
                if let Ok(Some((late, resolution, _held))) = ended {
                    late.answer(&resolution, answer);
                    push_frame(answers, answer);
                }
                next = if answers.len() < GATHERED { self.misses.0.try_join_next() } else { None };
            }
            // Before the answers go out: a client that has them all is idle, also while this thread is
            // preempted.
            self.mark();
            self.write(answers)
        })
    }

    /// Writes answers, and keeps the bytes that the client does not read.
    fn write(&mut self, answers: &mut Vec<u8>) -> io::Result<()> {
        let written = write(&self.stream, answers)?;
        self.output.extend_from_slice(answers.get(written..).unwrap_or_default());
        if answers.capacity() > LARGEST_KEPT {
            *answers = Vec::new();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = write(&self.stream, &self.output)?;
        if written == self.output.len() {
            (self.output, self.since) = (Vec::new(), Instant::now());
        } else {
            self.output.drain(..written);
        }
        Ok(())
    }

    /// Marks the connection as busy or idle among the others.
    fn mark(&self) {
        if self.is_waiting() {
            self.seat.busy();
        } else {
            self.seat.idle_since(self.since.into_std());
        }
    }

    /// Marks the connection, and accounts for the memory that it holds; `false`: it is closed, because memory
    /// is short.
    fn account(&mut self) -> bool {
        self.mark();
        let kernel = if self.output.is_empty() { 0 } else { limits::TCP_KERNEL_BYTES };
        let bytes = self.input.capacity() + self.output.capacity() + kernel;
        if bytes != self.held.as_ref().map_or(0, |held| held.bytes) {
            self.held = None;
            self.held = if bytes > 0 { self.seat.hold(bytes) } else { None };
        }
        bytes == 0 || self.held.is_some()
    }

    fn expires_at(&self) -> Instant {
        let since = if self.is_waiting() { Instant::now() } else { self.since };
        since + limits::TCP_IDLE
    }

    /// Whether the client waits for the sidecar, rather than the other way round.
    fn is_waiting(&self) -> bool {
        self.output.is_empty() && self.queries() > 0
    }

    /// The number of queries that wait for an answer.
    fn queries(&self) -> usize {
        self.misses.0.len()
    }
}

/// Waits until the client reads answers (`None`), or has sent something; returns how many bytes that was.
async fn readiness(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    is_blocked: bool,
) -> io::Result<Option<usize>> {
    if is_blocked {
        return stream.writable().await.map(|()| None);
    }
    let read = poll_fn(|context| {
        BUFFERS.with_borrow_mut(|buffers| {
            let mut buffer = ReadBuf::new(&mut buffers.read);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    });
    read.await.map(Some)
}
