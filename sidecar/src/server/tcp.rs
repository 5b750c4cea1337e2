//! DNS over TCP: two bytes of length before each message (RFC 1035 section 4.2.2), answers in any order (RFC
//! 7766 section 6.2.1.1).
//!
//! Each connection has a task. The connections of a thread share one buffer for reading and one for writing.
//! A connection has its own buffer only for a message that has arrived in part, and for answers that the
//! client does not read:
//!
//! ```text
//!   read --> hits ---------------------------> write
//!     '-----> misses: a task for each --late----^
//! ```
//!
//! The sidecar stops reading at [`limits::QUERIES_PER_CONNECTION`] queries in flight, and while the client
//! does not read its answers. It disconnects a client that is silent, or leaves a message half sent or its
//! answers half read, for [`limits::TCP_IDLE`]. [`crate::connections`] limits the memory of all connections,
//! of which each holds:
//!
//! | part | bytes |
//! |---|---|
//! | the connection itself: its task, and its socket in the kernel | [`limits::TCP_CONNECTION_BYTES`] |
//! | a message that has arrived in part | the part |
//! | answers that the client does not read | their bytes, and [`limits::TCP_KERNEL_BYTES`] for the part that the kernel holds, and for more queries |
//! | answers that wait behind those | their bytes |

use std::future::{pending, poll_fn};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use podlocal_dns::wire;
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

use frames::{BUFFERS, Buffers, GATHERED, LARGEST_KEPT, LENGTH, READ_AT_ONCE, push_frame, write};
use late::{Answers, Late, next};

mod frames;
mod late;

/// Accepts connections until the drain begins.
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
                // Usually out of descriptors. Existing connections continue; give them time to close.
                tracing::debug!(%error, "cannot accept");
                sleep(AFTER_AN_ERROR).await;
            }
        }
        // A new connection is read before others can take its place.
        tokio::task::yield_now().await;
    }
}

/// The pause after the kernel could not accept a connection.
const AFTER_AN_ERROR: Duration = Duration::from_millis(50);

/// The limits of the connections of all listeners together; memory is in proportion to their number.
pub(super) fn bounds(most: usize, of_source: u32) -> Bounds {
    let bytes = (most * limits::TCP_BYTES_FOR_EACH).max(limits::TCP_BYTES_LEAST);
    Bounds {
        most: (most, Limit::TcpConnections),
        of_source: (of_source as usize, Limit::TcpConnectionsPerSource),
        bytes: (bytes, Limit::TcpMemory),
        bytes_of_each: limits::TCP_CONNECTION_BYTES,
    }
}

/// Closes a connection that exceeds a limit, or serves it in a new task.
fn admit<U: Upstream>(stream: TcpStream, source: IpAddr, service: &Arc<Service<U>>, drain: &Drain) {
    let now = Instant::now();
    if !service.sources.are_answered(source, now.into_std()) {
        return service.metrics.limits.inc(Limit::Sources);
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
    /// Bytes that have arrived and are not answered: usually part of a message.
    input: Vec<u8>,
    /// Answers that the client does not read.
    output: Vec<u8>,
    /// The memory of these two.
    held: Option<Held>,
    /// Answers to misses; `None` before the first miss.
    late: Option<Answers<U>>,
    /// Shared with every waiting query, so its reference count is their number.
    under_way: Arc<()>,
    /// The client sends no more, or the sidecar reads no more.
    is_ending: bool,
    /// When a message last arrived whole, or all answers had been taken.
    since: Instant,
}

/// An event of a connection.
enum Event<U: Upstream> {
    Drain,
    Read(usize),
    Writable,
    Late(Box<Late<U>>),
    Expiry,
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
    async fn run(mut self, mut drain: Drain) {
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
                        self.service.metrics.limits.inc(Limit::TcpIdle);
                        return Ok(if self.output.is_empty() { Ended::Over } else { Ended::CutOff });
                    }
                },
            }
            self.answer(drain, now)?;
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

    /// Answers messages until the answers have [`GATHERED`] bytes. Returns how many bytes of the input it
    /// used.
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
                Step::Wait(query, _, places) => self.wait(&query, places, drain),
            }
        }
        self.write(answers)?;
        Ok(taken)
    }

    /// Starts a task that waits for the answer to a miss.
    fn wait(&mut self, query: &Query<'_>, places: Places, drain: &Drain) {
        let (answers, _) = self.late.get_or_insert_with(unbounded_channel);
        let (answers, seat) = (answers.clone(), Arc::clone(&self.seat));
        let late = Box::new(Late::new(&self.service, query, places, &self.under_way, drain));
        let source = self.source;
        tokio::spawn(async move {
            if let Some(late) = late.resolve(source, &seat).await {
                let _ = answers.send(late); // fails if the connection has ended
            }
        });
    }

    /// Writes the answer to a miss, and further ones that have arrived meanwhile.
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

    fn expires_at(&self, now: Instant) -> Instant {
        let since = if self.is_waiting() { now } else { self.since };
        since + limits::TCP_IDLE
    }

    /// Whether the client waits for the sidecar, rather than the other way round.
    fn is_waiting(&self) -> bool {
        self.output.is_empty() && self.queries() > 0
    }

    /// The number of queries that wait for an answer.
    fn queries(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }
}

/// Waits until the client reads answers, or has sent something, and reads it.
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
