//! A socket that many queries share, and the task that reads it. [`queries`] assigns datagrams to queries.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::udp::{self, Buffer, READABLE_OR_ERROR, forget_readiness};
use crate::limits;
use crate::metrics::Metrics;
use crate::wire::Message;

use queries::{Delivery, InFlightQueries};

pub mod queries;

/// A connected socket, and the queries that were sent on it.
#[derive(Debug)]
pub struct SharedSocket {
    socket: UdpSocket,
    queries: Mutex<InFlightQueries>,
    /// Wakes the reader to check whether it is still needed.
    changed: Notify,
    expires: Instant,
}

/// How many bytes of an undelivered datagram are read: enough to know which query it was.
const QUOTED: usize = 512;

impl SharedSocket {
    /// Shares a connected socket on which the server has answered the query with that id. Its reader ends
    /// when the socket has expired and no query is in flight.
    pub fn share(
        socket: UdpSocket,
        first: u16,
        buffer: &Arc<Buffer>,
        metrics: &Metrics,
        now: Instant,
    ) -> Arc<Self> {
        // With this option the kernel reports which datagram was not delivered (ip(7)); without it, all
        // queries in flight count as lost.
        let is_ipv4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
        let enabled = if is_ipv4 {
            setsockopt(&socket, Ipv4RecvErr, &true)
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)
        };
        if let Err(error) = enabled {
            tracing::debug!(%error, "cannot enable reports of undelivered datagrams on a shared socket");
        }
        let shared = Arc::new(Self {
            socket,
            queries: Mutex::new(InFlightQueries::after_first(first)),
            changed: Notify::new(),
            expires: now + limits::UPSTREAM_SOCKET_LIFETIME,
        });
        let (reader, buffer, metrics) = (Arc::clone(&shared), Arc::clone(buffer), metrics.clone());
        tokio::spawn(async move { reader.run_reader(&buffer, &metrics).await });
        shared
    }

    /// Sends the message that `write` makes with an id; `None`: the socket has expired, has had all its
    /// queries, or cannot send.
    pub fn ask(
        self: &Arc<Self>,
        write: impl FnOnce(u16) -> Vec<u8>,
        now: Instant,
    ) -> io::Result<Option<Ticket>> {
        let mut queries = self.lock();
        if now >= self.expires {
            return Ok(None);
        }
        let Some(id) = queries.next_id()? else { return Ok(None) };
        let sent = write(id);
        if let Err(error) = udp::send(&self.socket, &sent) {
            // The reader reports the error to the queries in flight; this query is sent on another socket.
            tracing::debug!(%error, "cannot send on a shared socket");
            return Ok(None);
        }
        let index = queries.insert(id, sent);
        drop(queries);
        Ok(Some(Ticket { shared: Arc::clone(self), index, sent_at: now, is_answered: false }))
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

    async fn run_reader(&self, buffer: &Buffer, metrics: &Metrics) {
        while !self.lock().is_over() {
            tokio::select! {
                biased;
                ready = self.socket.ready(READABLE_OR_ERROR) => {
                    let Ok(ready) = ready else { return }; // the runtime shuts down
                    if ready.is_error() {
                        self.report_undelivered();
                    }
                    self.receive(buffer, metrics);
                }
                () = self.changed.notified() => {}
                () = sleep_until(self.expires), if !self.lock().is_retired() => self.retire(),
            }
        }
    }

    /// Receives the datagrams that have arrived, up to [`limits::BATCH`]: a flood must not keep other tasks
    /// from running.
    fn receive(&self, buffer: &Buffer, metrics: &Metrics) {
        let now = Instant::now();
        let sort = |datagram: &[u8]| {
            if let Err(unwanted) = self.lock().dispatch(datagram, now) {
                metrics.unwanted_reply(unwanted);
            }
        };
        for _ in 0..limits::BATCH {
            let Err(error) = buffer.receive(&self.socket, sort) else { continue };
            if error.kind() == io::ErrorKind::WouldBlock {
                return forget_readiness(&self.socket);
            }
            if !self.report_undelivered() {
                self.lock().report_undelivered(None, error.kind());
            }
        }
    }

    /// Reports undelivered datagrams to their queries, from the socket's error queue (recvmsg(2),
    /// `MSG_ERRQUEUE`). Returns whether there were any.
    fn report_undelivered(&self) -> bool {
        let mut has_any = false;
        let mut quoted = [0; QUOTED];
        for _ in 0..limits::BATCH {
            let mut slices = [io::IoSliceMut::new(&mut quoted)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, None, flags);
            let Ok(length) = read.map(|message| message.bytes) else { break };
            has_any = true;
            if let Some(message) = quoted.get(..length).and_then(Message::new) {
                self.lock().report_undelivered(Some(message.id()), io::ErrorKind::ConnectionRefused);
            }
        }
        has_any
    }

    fn lock(&self) -> MutexGuard<'_, InFlightQueries> {
        // A panic under the lock loses a query at most, which is retransmitted.
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query in flight on a shared socket. When it is dropped, no task waits for its answer any more.
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
        udp::send(&self.shared.socket, bytes)
    }

    /// Waits for the next datagram or error for the query.
    pub async fn next_delivery(&mut self) -> Delivery {
        std::future::poll_fn(|context| self.shared.lock().poll(self.index, context)).await
    }

    /// Notes that the query has been answered.
    pub fn mark_answered(&mut self) {
        self.is_answered = true;
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
