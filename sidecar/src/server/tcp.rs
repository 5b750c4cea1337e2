//! Streams: two bytes of length before each message (RFC 1035 section 4.2.2), answers as they come, in any
//! order (RFC 7766 section 6.2.1.1).
//!
//! One task for each connection. What the client has sent is answered from a buffer that all connections of the thread
//! share, and so are answers written; a connection has a buffer of its own only for a message that has not arrived whole, and
//! for answers that the client does not take:
//!
//! ```text
//!   read --> hits ---------------------------> write
//!     '-----> misses: a task for each --late----^
//! ```
//!
//! Reading stops at [`limits::QUERIES_PER_CONNECTION`] queries under way, and while answers are not taken. A client that is
//! silent, leaves a message half sent or its answers half read for [`limits::TCP_IDLE`] is cut off. [`crate::connections`] bounds
//! the memory of all of them; what a connection holds of it:
//!
//! | what | bytes |
//! |---|---|
//! | the connection itself: its task, and its socket in the kernel | [`limits::TCP_CONNECTION_BYTES`] |
//! | a message that has not arrived whole | what has arrived |
//! | answers that the client does not take | themselves, and [`limits::TCP_KERNEL_BYTES`] for what the kernel holds of them and of more queries |
//! | answers that have come and wait behind those | themselves |

use std::future::{pending, poll_fn};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Places, Service, Step};
use crate::connections::{Bounds, Held, Seat, part};
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::shutdown::Drain;
use crate::upstream::Upstream;
use crate::wire;

use frames::{BUFFERS, Buffers, GATHERED, LARGEST_KEPT, LENGTH, READ_AT_ONCE, push_frame, write};
use late::{Answers, Late, next};

mod frames;
mod late;

/// Accepts until the drain begins.
pub async fn serve<U: Upstream>(listener: Arc<TcpListener>, service: Arc<Service<U>>, mut drain: Drain) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => admit(stream, client.ip(), &service, &drain),
            Err(error) => {
                // Out of descriptors, mostly. Those who are connected go on; give them time to leave.
                tracing::debug!(%error, "cannot accept");
                sleep(AFTER_AN_ERROR).await;
            }
        }
        // A new connection is read before others can take its place.
        tokio::task::yield_now().await;
    }
}

/// How long to wait after the kernel could not give us a connection.
const AFTER_AN_ERROR: Duration = Duration::from_millis(50);

/// What the connections of all listeners may take together: in proportion to their number.
pub(super) fn bounds(most: usize, of_source: u32) -> Bounds {
    let bytes = (most * limits::TCP_BYTES_FOR_EACH).max(limits::TCP_BYTES_LEAST);
    Bounds {
        most: (most, Limit::TcpConnections),
        of_source: (of_source as usize, Limit::TcpConnectionsPerSource),
        bytes: (bytes, Limit::TcpMemory),
        bytes_of_each: limits::TCP_CONNECTION_BYTES,
    }
}

/// Closes a connection that may not be, or serves it in a task of its own.
fn admit<U: Upstream>(stream: TcpStream, source: IpAddr, service: &Arc<Service<U>>, drain: &Drain) {
    let now = Instant::now();
    if !service.sources.are_answered(source, now.into_std()) {
        return service.metrics.limit_reached(Limit::Sources);
    }
    service.sources.know(source, now.into_std());
    let Some(seat) = service.connections.admit(source, now.into_std()) else { return };
    let _ = stream.set_nodelay(true);
    let connection = Connection {
        stream,
        source,
        seat: Arc::clone(&seat),
        service: Arc::clone(service),
        input: Vec::new(),
        output: Vec::new(),
        held: None,
        late: None,
        under_way: Arc::default(),
        is_ending: false,
        since: now,
    };
    let task = tokio::spawn(connection.run(drain.clone()));
    seat.is_served_by(task.abort_handle());
}

struct Connection<U: Upstream> {
    stream: TcpStream,
    source: IpAddr,
    seat: Arc<Seat>,
    service: Arc<Service<U>>,
    /// What has arrived and is not answered: part of a message, mostly.
    input: Vec<u8>,
    /// Answers that the client does not take.
    output: Vec<u8>,
    /// What these two hold.
    held: Option<Held>,
    /// Answers that were waited for; none before the first.
    late: Option<Answers<U>>,
    /// Shared with every query that waits.
    under_way: Arc<()>,
    /// The client sends nothing more, or nothing more is read.
    is_ending: bool,
    /// When a message last arrived whole, or all answers had been taken.
    since: Instant,
}

/// What a connection waits for.
enum Event<U: Upstream> {
    Drain,
    Read(usize),
    Writable,
    Late(Box<Late<U>>),
    Expiry,
}

/// Why a connection ends.
enum Ended {
    /// The client has left, all its answers are written.
    Over,
    /// The same, because of the drain.
    Drained,
    /// It has to go: the client is silent, does not take its answers, or memory is short.
    CutOff,
}

impl<U: Upstream> Connection<U> {
    async fn run(mut self, mut drain: Drain) {
        let ended = self.serve(&mut drain).await;
        drop(drain);
        match ended {
            Ok(Ended::Over) => part(self.stream).await,
            Ok(Ended::Drained) => {
                // The process may end before the client has everything.
                let _ = SockRef::from(&self.stream).set_linger(None);
                let _ = self.stream.shutdown().await; // fails when the client was first
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
            let Self { stream, input, late, is_ending, .. } = &mut *self;
            let event = tokio::select! {
                biased;
                () = drain.begun(), if !*is_ending => Event::Drain,
                late = next(late), if !is_blocked => Event::Late(late),
                event = readiness(stream, input, is_blocked, may_read) => event?,
                () = &mut expiry => Event::Expiry,
            };
            let now = Instant::now();
            let may_be_more = matches!(event, Event::Read(READ_AT_ONCE..));
            match event {
                Event::Drain => (self.is_ending, is_drained) = (true, true),
                Event::Read(0) => self.is_ending = true,
                Event::Read(_) => {}
                Event::Writable => self.flush(now)?,
                Event::Late(first) => self.give(first, now)?,
                Event::Expiry => match self.expires_at(now) {
                    at if at > now => expiry.as_mut().reset(at),
                    _ => {
                        self.service.metrics.limit_reached(Limit::TcpIdle);
                        return Ok(if self.output.is_empty() { Ended::Over } else { Ended::CutOff });
                    }
                },
            }
            self.answer(drain, now)?;
            if !self.account() {
                return Ok(Ended::CutOff);
            }
            if may_be_more {
                // A flood of hits must not keep others waiting.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Answers the messages that have arrived whole, while the client takes the answers.
    fn answer(&mut self, drain: &Drain, now: Instant) -> io::Result<()> {
        while self.output.is_empty() {
            let mut input = mem::take(&mut self.input);
            let taken = BUFFERS.with_borrow_mut(|buffers| self.answer_some(&input, drain, now, buffers))?;
            if taken == 0 {
                self.input = input;
                break;
            }
            self.input = input.split_off(taken);
            self.since = now;
        }
        Ok(())
    }

    /// As many as make [`GATHERED`] bytes of answers; how many bytes of the input those were.
    fn answer_some(
        &mut self,
        input: &[u8],
        drain: &Drain,
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
                Step::Wait(query, places) => self.wait(&query, places, drain),
            }
        }
        self.write(answers)?;
        Ok(taken)
    }

    /// A miss waits in a task of its own.
    fn wait(&mut self, query: &Query<'_>, places: Places, drain: &Drain) {
        let (answers, _) = self.late.get_or_insert_with(unbounded_channel);
        let (answers, seat, key) = (answers.clone(), Arc::clone(&self.seat), Arc::new(query.key.clone()));
        let late = Box::new(Late::new(&self.service, query, places, &self.under_way, drain));
        let source = self.source;
        tokio::spawn(async move {
            if let Some(late) = late.resolve(&key, source, &seat).await {
                let _ = answers.send(late); // fails when the client has left
            }
        });
    }

    /// Writes an answer that was waited for, and others that have come meanwhile.
    fn give(&mut self, first: Box<Late<U>>, now: Instant) -> io::Result<()> {
        self.since = now;
        BUFFERS.with_borrow_mut(|Buffers { answers, answer, .. }| {
            answers.clear();
            let mut next = Some(first);
            while let Some(late) = next {
                (*late).write(answer);
                push_frame(answers, answer);
                let queue = self.late.as_mut().filter(|_| answers.len() < GATHERED);
                next = queue.and_then(|(_, queue)| queue.try_recv().ok());
            }
            // Before the answers go out: a client that has them all is idle, also while this thread is preempted.
            self.mark();
            self.write(answers)
        })
    }

    /// Writes answers, and keeps what the client does not take.
    fn write(&mut self, answers: &mut Vec<u8>) -> io::Result<()> {
        let written = write(&self.stream, answers)?;
        self.output.extend_from_slice(answers.get(written..).unwrap_or_default());
        if answers.capacity() > LARGEST_KEPT {
            *answers = Vec::new();
        }
        Ok(())
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        let written = write(&self.stream, &self.output)?;
        if written == self.output.len() {
            (self.output, self.since) = (Vec::new(), now);
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

    /// Marks the connection, and accounts for the memory that it holds; `false`: it is closed, because memory is short.
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

    fn expires_at(&self, now: Instant) -> Instant {
        let since = if self.is_waiting() { now } else { self.since };
        since + limits::TCP_IDLE
    }

    /// Whether it is our turn to say something.
    fn is_waiting(&self) -> bool {
        self.output.is_empty() && self.queries() > 0
    }

    /// How many queries wait for an answer.
    fn queries(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }
}

/// Waits until the client takes answers, or has sent something, which is then read.
async fn readiness<U: Upstream>(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    is_blocked: bool,
    may_read: bool,
) -> io::Result<Event<U>> {
    if is_blocked {
        stream.writable().await?;
        return Ok(Event::Writable);
    }
    if !may_read {
        return pending().await;
    }
    let read = poll_fn(|context| {
        BUFFERS.with_borrow_mut(|buffers| {
            let mut buffer = ReadBuf::new(&mut buffers.read);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
        })
    });
    Ok(Event::Read(read.await?))
}
