//! A connected socket that queries may share, and the task that reads it. [`queries`] assigns datagrams to
//! queries.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use podlocal_dns::upstream::Recovery;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::outgoing::Arrival;
use super::socket::{self, READABLE_OR_ERROR, forget_readiness};
use crate::datagrams;
use crate::limits;
use crate::metrics::Metrics;
use crate::supervise::lock;

use queries::{DirectReceiver, Dispatched, Handover, InFlightQueries};
use ticket::Ticket;

pub mod queries;
pub mod ticket;

/// A place for a shared socket. Weak: a socket lives until it has expired and no query is in flight.
pub type Slot = Mutex<Weak<SharedSocket>>;

/// The last recovery of a server, and notifications of the next ones.
pub type Recoveries = watch::Receiver<Option<Recovery>>;

/// A connected socket, and the queries that were sent on it.
#[derive(Debug)]
pub struct SharedSocket {
    socket: UdpSocket,
    queries: Mutex<InFlightQueries>,
    /// Wakes the reader to check whether it is still needed, or whether there may be more queries.
    changed: Notify,
    expires: Instant,
    /// Where it is shared once a query on it was answered, and whether that has happened.
    slot: Option<Arc<Slot>>,
    is_answered: AtomicBool,
    metrics: Arc<Metrics>,
}

impl SharedSocket {
    /// A new socket that is connected to that server, and the index of the query on it whose message `write`
    /// makes. It takes no further queries until that one was answered, and none at all without a slot. Its
    /// reader ends when the socket is retired and no query is in flight.
    pub fn open(
        server: SocketAddr,
        slot: Option<Arc<Slot>>,
        write: impl FnOnce(u16, &mut Vec<u8>),
        recoveries: Recoveries,
        metrics: &Arc<Metrics>,
        now: Instant,
    ) -> io::Result<(Arc<Self>, usize)> {
        let mut queries = InFlightQueries::default();
        let id = super::random::id()?;
        let socket = socket::with_message(|out| {
            write(id, out);
            socket::send_from_new_socket(server, out)
        })?;
        let index = queries.insert(id, now);
        queries.is_retired = true;
        let shared = Arc::new(Self {
            socket,
            queries: Mutex::new(queries),
            changed: Notify::new(),
            expires: now + limits::UPSTREAM_SOCKET_LIFETIME,
            slot,
            is_answered: AtomicBool::new(false),
            metrics: Arc::clone(metrics),
        });
        let reader = Arc::clone(&shared);
        tokio::spawn(async move { reader.run_reader(recoveries).await });
        Ok((shared, index))
    }

    /// Sends the message that `write` makes with an id, and returns the index of the query; `None`: the
    /// socket has expired, has had all its queries, or cannot send.
    pub fn send(&self, write: impl FnOnce(u16, &mut Vec<u8>), now: Instant) -> io::Result<Option<usize>> {
        let mut queries = self.lock();
        if now >= self.expires {
            return Ok(None);
        }
        let Some(id) = queries.next_id()? else { return Ok(None) };
        let sent = socket::with_message(|out| {
            write(id, out);
            socket::send(&self.socket, out)
        });
        if let Err(error) = sent {
            // The reader reports the error to the queries in flight; this query is sent on another socket.
            tracing::debug!(%error, "cannot send on a shared socket");
            return Ok(None);
        }
        Ok(Some(queries.insert(id, now)))
    }

    /// The ticket by which a task receives the datagrams for a query that was just sent.
    pub fn ticket(self: &Arc<Self>, index: usize, question: &[u8]) -> Ticket {
        self.lock().give_to_task(index, question, None);
        Ticket::new(Arc::clone(self), index)
    }

    /// Lets a query that was just sent receive its datagrams without a task.
    pub fn give_to(&self, index: usize, direct: Box<dyn DirectReceiver>) {
        self.lock().give_to(index, direct);
    }

    /// Accepts no further queries; the socket is closed when no query is in flight.
    pub fn retire(&self) {
        self.change(|queries| queries.is_retired = true);
    }

    fn change(&self, change: impl FnOnce(&mut InFlightQueries)) {
        let mut queries = self.lock();
        change(&mut queries);
        let is_over = queries.is_over();
        drop(queries);
        if is_over {
            self.changed.notify_one();
        }
    }

    async fn run_reader(self: Arc<Self>, recoveries: Recoveries) {
        let mut recovered = pin!(next_recovery(recoveries));
        let mut tick = pin!(sleep_until(Instant::now() + limits::UPSTREAM_TICK));
        while !self.lock().is_over() {
            tokio::select! {
                biased;
                ready = self.socket.ready(READABLE_OR_ERROR) => {
                    let Ok(ready) = ready else { return }; // the runtime shuts down
                    if ready.is_error() {
                        self.report_undelivered();
                    }
                    self.receive();
                    datagrams::send_queued();
                }
                () = self.changed.notified() => tick.as_mut().reset(Instant::now() + limits::UPSTREAM_TICK),
                (recovery, recoveries) = recovered.as_mut() => {
                    recovered.set(next_recovery(recoveries));
                    tick.as_mut().reset(self.tick(recovery, Instant::now()));
                }
                () = tick.as_mut() => {
                    let next = self.tick(None, Instant::now());
                    tick.as_mut().reset(next);
                }
            }
        }
    }

    /// Retires the socket when it has expired, and gives queries to tasks that need one. Returns the time of
    /// the next tick. While the server is silent, there are few: thousands of queries may wait then.
    fn tick(self: &Arc<Self>, recovery: Option<Recovery>, now: Instant) -> Instant {
        let mut queries = self.lock();
        queries.is_retired |= now >= self.expires;
        let (due, next) = queries.take_due(recovery, now);
        let takes_more = !queries.is_retired;
        drop(queries);
        for handover in due {
            self.continue_in_task(handover);
        }
        let earliest = now + limits::UPSTREAM_TICK;
        if takes_more { earliest } else { next.map_or(now + limits::DEADLINE, |next| next.max(earliest)) }
    }

    /// Receives the datagrams that have arrived, up to [`limits::BATCH`]: a flood must not keep other tasks
    /// from running.
    fn receive(self: &Arc<Self>) {
        let now = Instant::now();
        for _ in 0..limits::BATCH / socket::DATAGRAMS {
            match socket::receive(&self.socket, |datagram| self.dispatch(datagram, now)) {
                Ok(socket::DATAGRAMS) => {}
                // Nothing is left, and the next arrival wakes the reader: its runtime has one thread, which
                // polls epoll after this.
                Ok(_) => return forget_readiness(&self.socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return forget_readiness(&self.socket);
                }
                Err(error) if !self.report_undelivered() => self.report(None, error.kind()),
                Err(_) => {}
            }
        }
    }

    fn dispatch(self: &Arc<Self>, datagram: &mut [u8], now: Instant) {
        let dispatched = self.lock().dispatch(datagram, now);
        match dispatched {
            Ok(Dispatched::ToTask) => {}
            Ok(Dispatched::ToDirect(index, direct)) => {
                // A panic for one query must not end the reader, for which others wait.
                let received = catch_unwind(AssertUnwindSafe(|| direct.receive(datagram, now)));
                match received {
                    Ok(Err(direct)) => {
                        let message = Ok(Arrival::Message(datagram.to_vec()));
                        self.continue_in_task((index, direct, Some(message)));
                    }
                    Ok(Ok(())) => {
                        self.share();
                        self.change(|queries| queries.remove(index, true));
                    }
                    Err(_) => self.change(|queries| queries.remove(index, false)),
                }
            }
            Ok(Dispatched::NeedsTask(handover)) => self.continue_in_task(handover),
            Err(unwanted) => self.metrics.unwanted_replies.inc(unwanted),
        }
    }

    /// Lets the socket take further queries, once a query on it was answered, unless another socket has taken
    /// its slot meanwhile.
    fn share(self: &Arc<Self>) {
        let is_first = !self.is_answered.swap(true, Ordering::Relaxed);
        let Some(slot) = self.slot.as_ref().filter(|_| is_first) else { return };
        let mut slot = lock(slot);
        if slot.strong_count() > 0 {
            return;
        }
        *slot = Arc::downgrade(self);
        drop(slot);
        // Without the reports, all queries in flight count as lost when one is not delivered.
        if let Err(error) = socket::enable_reports(&self.socket) {
            tracing::debug!(%error, "cannot enable reports of undelivered datagrams on a shared socket");
        }
        self.lock().is_retired = false;
        self.changed.notify_one();
    }

    fn continue_in_task(self: &Arc<Self>, (index, direct, delivery): Handover) {
        self.lock().give_to_task(index, direct.question(), delivery);
        direct.continue_in_task(Ticket::new(Arc::clone(self), index));
    }

    /// Reports undelivered datagrams to their queries. Returns whether there were any.
    fn report_undelivered(self: &Arc<Self>) -> bool {
        let mut has_any = false;
        for report in (0..limits::BATCH).map_while(|_| socket::take_report(&self.socket).ok()) {
            has_any = true;
            if report.is_some() {
                self.report(report, io::ErrorKind::ConnectionRefused);
            }
        }
        has_any
    }

    /// Reports an error to the query with that id, or to all.
    fn report(self: &Arc<Self>, id: Option<u16>, kind: io::ErrorKind) {
        let without_task = self.lock().report_undelivered(id, kind);
        for handover in without_task {
            self.continue_in_task(handover);
        }
    }

    fn lock(&self) -> MutexGuard<'_, InFlightQueries> {
        lock(&self.queries)
    }
}

/// The next recovery, and the receiver for the ones after it.
async fn next_recovery(mut recoveries: Recoveries) -> (Option<Recovery>, Recoveries) {
    if recoveries.changed().await.is_err() {
        std::future::pending::<()>().await; // there will be none
    }
    let recovery = *recoveries.borrow_and_update();
    (recovery, recoveries)
}

#[cfg(test)]
mod tests;
