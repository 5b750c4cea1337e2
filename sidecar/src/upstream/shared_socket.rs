//! A connected socket that queries may share, and the task that reads it. [`queries`] assigns datagrams to
//! queries.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use podlocal_dns::wire::Message;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::socket::{self, READABLE_OR_ERROR, forget_readiness};
use crate::datagrams;
use crate::limits;
use crate::metrics::Metrics;

use queries::{Delivery, DirectReceiver, Dispatched, InFlightQueries};

pub mod queries;

/// A place in which a new socket is shared once a query on it was answered.
pub trait Place: Debug + Send + Sync {
    /// Puts the socket there, unless another one has taken the place meanwhile; returns whether it did.
    fn take(&self, socket: &Arc<SharedSocket>) -> bool;
}

/// A connected socket, and the queries that were sent on it.
#[derive(Debug)]
pub struct SharedSocket {
    socket: UdpSocket,
    queries: Mutex<InFlightQueries>,
    /// Wakes the reader to check whether it is still needed, or whether there may be more queries.
    changed: Notify,
    /// Notified when a server that was silent has answered.
    recovered: Arc<Notify>,
    expires: Instant,
    /// Where it is shared once a query on it was answered, and whether that has happened.
    place: Option<Box<dyn Place>>,
    is_answered: AtomicBool,
    metrics: Arc<Metrics>,
}

/// A query that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The id of its message.
    pub id: u16,
    /// Its index among the queries of the socket.
    pub index: usize,
}

/// How many bytes of an undelivered datagram are read: enough to know which query it was.
const QUOTED: usize = 512;

impl SharedSocket {
    /// A new socket that is connected to that server, and the query on it whose message `write` makes. It
    /// takes no further queries until that one was answered, and none at all without a place. Its reader ends
    /// when the socket is retired and no query is in flight.
    pub fn open(
        server: SocketAddr,
        place: Option<Box<dyn Place>>,
        write: impl FnOnce(u16, &mut Vec<u8>),
        recovered: &Arc<Notify>,
        metrics: &Arc<Metrics>,
        now: Instant,
    ) -> io::Result<(Arc<Self>, Sent)> {
        let mut queries = InFlightQueries::default();
        let id = super::random::id()?;
        let socket = socket::with_message(|out| {
            write(id, out);
            socket::send_from_new_socket(server, out)
        })?;
        let index = queries.insert(id);
        queries.retire();
        let shared = Arc::new(Self {
            socket,
            queries: Mutex::new(queries),
            changed: Notify::new(),
            recovered: Arc::clone(recovered),
            expires: now + limits::UPSTREAM_SOCKET_LIFETIME,
            place,
            is_answered: AtomicBool::new(false),
            metrics: Arc::clone(metrics),
        });
        let reader = Arc::clone(&shared);
        tokio::spawn(async move { reader.run_reader().await });
        Ok((shared, Sent { id, index }))
    }

    /// Sends the message that `write` makes with an id; `None`: the socket has expired, has had all its
    /// queries, or cannot send.
    pub fn send(&self, write: impl FnOnce(u16, &mut Vec<u8>), now: Instant) -> io::Result<Option<Sent>> {
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
        Ok(Some(Sent { id, index: queries.insert(id) }))
    }

    /// The ticket by which a task receives the datagrams for a query that was just sent.
    pub fn ticket(self: &Arc<Self>, sent: Sent, question: &[u8], now: Instant) -> Ticket {
        self.lock().give_to_task(sent.index, question, None);
        Ticket { shared: Arc::clone(self), index: sent.index, sent_at: now, is_answered: false }
    }

    /// Lets a query that was just sent receive its datagrams without a task.
    pub fn give_to(&self, sent: Sent, direct: Box<dyn DirectReceiver>) {
        self.lock().give_to(sent.index, direct);
    }

    /// Accepts no further queries; the socket is closed when no query is in flight.
    pub fn retire(&self) {
        self.change(InFlightQueries::retire);
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

    async fn run_reader(self: Arc<Self>) {
        let mut recovered = pin!(self.recovered.notified());
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
                () = recovered.as_mut() => {
                    recovered.set(self.recovered.notified());
                    tick.as_mut().reset(self.tick(Instant::now()));
                }
                () = tick.as_mut() => {
                    let next = self.tick(Instant::now());
                    tick.as_mut().reset(next);
                }
            }
        }
    }

    /// Retires the socket when it has expired, and gives queries to tasks that need one. Returns the time of
    /// the next tick. While the server is silent, there are few: thousands of queries may wait then.
    fn tick(self: &Arc<Self>, now: Instant) -> Instant {
        let mut queries = self.lock();
        if now >= self.expires {
            queries.retire();
        }
        let due = queries.take_due(now);
        let (next, takes_more) = (queries.next_check(), !queries.is_retired());
        drop(queries);
        for (index, direct) in due {
            self.continue_in_task(index, direct, None);
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
                        self.continue_in_task(index, direct, Some(Delivery::Datagram(datagram.to_vec())));
                    }
                    Ok(Ok(())) => self.end(index, now, true),
                    Err(_) => self.end(index, now, false),
                }
            }
            Ok(Dispatched::NearMissOfDirect(index, direct)) => {
                self.continue_in_task(index, direct, Some(Delivery::NearMisses(1)));
            }
            Err(unwanted) => self.metrics.unwanted_replies.inc(unwanted),
        }
    }

    /// Ends a query.
    fn end(self: &Arc<Self>, index: usize, sent_at: Instant, is_answered: bool) {
        if is_answered {
            self.share();
        }
        self.change(|queries| queries.remove(index, sent_at, is_answered));
    }

    /// Lets the socket take further queries, once a query on it was answered, unless another socket has taken
    /// its place meanwhile.
    fn share(self: &Arc<Self>) {
        let is_first = !self.is_answered.swap(true, Ordering::Relaxed);
        let Some(place) = self.place.as_ref().filter(|_| is_first) else { return };
        if !place.take(self) {
            return;
        }
        // With this option the kernel reports which datagram was not delivered (ip(7)); without it, all
        // queries in flight count as lost.
        let is_ipv4 = self.socket.local_addr().is_ok_and(|address| address.is_ipv4());
        let enabled = if is_ipv4 {
            setsockopt(&self.socket, Ipv4RecvErr, &true)
        } else {
            setsockopt(&self.socket, Ipv6RecvErr, &true)
        };
        if let Err(error) = enabled {
            tracing::debug!(%error, "cannot enable reports of undelivered datagrams on a shared socket");
        }
        self.lock().accept_more();
        self.changed.notify_one();
    }

    fn continue_in_task(
        self: &Arc<Self>,
        index: usize,
        direct: Box<dyn DirectReceiver>,
        delivery: Option<Delivery>,
    ) {
        self.lock().give_to_task(index, direct.question(), delivery);
        let ticket =
            Ticket { shared: Arc::clone(self), index, sent_at: direct.sent_at(), is_answered: false };
        direct.continue_in_task(ticket);
    }

    /// Reports undelivered datagrams to their queries, from the socket's error queue (recvmsg(2),
    /// `MSG_ERRQUEUE`). Returns whether there were any.
    fn report_undelivered(self: &Arc<Self>) -> bool {
        let mut has_any = false;
        let mut quoted = [0; QUOTED];
        for _ in 0..limits::BATCH {
            let mut slices = [io::IoSliceMut::new(&mut quoted)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, None, flags);
            let Ok(length) = read.map(|message| message.bytes) else { break };
            has_any = true;
            if let Some(message) = quoted.get(..length).and_then(Message::new) {
                self.report(Some(message.id()), io::ErrorKind::ConnectionRefused);
            }
        }
        has_any
    }

    /// Reports an error to the query with that id, or to all.
    fn report(self: &Arc<Self>, id: Option<u16>, kind: io::ErrorKind) {
        let directs = self.lock().report_undelivered(id, kind);
        for (index, direct) in directs {
            self.continue_in_task(index, direct, Some(Delivery::Undelivered(kind)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, InFlightQueries> {
        // A panic under the lock loses a query at most, which is retransmitted.
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query in flight whose datagrams a task receives. When it is dropped, no task waits for its answer any
/// more.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<SharedSocket>,
    index: usize,
    sent_at: Instant,
    is_answered: bool,
}

impl Ticket {
    /// Sends another message with the same id.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        socket::send(&self.shared.socket, bytes)
    }

    /// Waits for what arrives next for the query.
    pub async fn next_delivery(&mut self) -> Delivery {
        std::future::poll_fn(|context| self.shared.lock().poll(self.index, context)).await
    }

    /// Notes that the query has been answered, and lets other queries share the socket, unless an attacker
    /// may know its port.
    pub fn mark_answered(&mut self, is_port_known: bool) {
        self.is_answered = true;
        if !is_port_known {
            self.shared.share();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Self { index, sent_at, is_answered, .. } = *self;
        self.shared.change(|queries| queries.remove(index, sent_at, is_answered));
    }
}

#[cfg(test)]
mod tests;
