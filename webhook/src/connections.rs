//! Limits the number of connections and the bytes of request bodies, over all clients.
//!
//! Any client that reaches the port can open connections and leave requests incomplete. When a limit is
//! reached, the connection that has been incomplete for the longest time is evicted: a review of the API
//! server arrives within milliseconds, so it is never that one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::metrics::{Closed, Metrics};

mod listener;

pub(crate) use listener::{Listener, Peer};

/// A request up to this size, in bytes, never waits for memory: another one is evicted immediately. Nearly
/// all reviews are smaller.
const SMALL_REQUEST: usize = 256 << 10;

/// How long a request may be incomplete before it is evicted for a larger one. It is less than half of the
/// API server's time-out (`timeoutSeconds` in the manifests); many large requests at the same time wait for
/// each other.
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// How often a waiting request checks whether the grace period of another one is over.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The limits of one port.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The maximum number of connections, including those in the TLS handshake.
    pub connections: usize,
    /// The maximum number of bytes of all request bodies.
    pub(crate) bytes: usize,
}

/// The connections of one port.
#[derive(Debug)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    /// A connection or bytes were released, or a connection was evicted.
    changed: Notify,
    metrics: Arc<Metrics>,
}

/// The entry of a connection in the table; dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    id: u64,
    connections: Arc<Connections>,
}

/// The bytes of a request in memory; dropping it releases them.
#[derive(Debug)]
pub(crate) struct HeldBytes<'a>(&'a ConnectionSlot);

/// The connection was evicted to release its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Evicted;

#[derive(Debug)]
struct Table {
    limits: Limits,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    state: State,
    /// The time of the last change of state.
    since: Instant,
    bytes: usize,
    /// A second descriptor of its socket, with which it is shut down; `None` in tests. With those of both ports,
    /// all connections have fewer descriptors than the usual soft limit of 1,024.
    socket: Option<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The webhook waits for the client: for its handshake, for a request or the rest of one, or until it has
    /// read the response.
    Incomplete,
    /// The client waits for the response.
    Complete,
    Evicted,
}

/// The result of a request for bytes.
#[derive(Debug, PartialEq, Eq)]
enum Grant {
    Granted,
    /// Others will release some soon; this many were evicted.
    Wait(usize),
    /// The requesting connection itself is evicted.
    Evicted,
}

impl Connections {
    pub(crate) fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        let table = Table { limits, entries: BTreeMap::new(), next: 0, bytes: 0 };
        Arc::new(Self { table: Mutex::new(table), changed: Notify::new(), metrics })
    }

    /// Waits until a connection of `source` is admitted; `socket` shuts it down.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        source: IpAddr,
        mut socket: Option<TcpStream>,
    ) -> ConnectionSlot {
        loop {
            let changed = self.changed.notified();
            match self.table().admit(source, &mut socket, Instant::now()) {
                Ok(id) => return ConnectionSlot { id, connections: self.clone() },
                Err(evicted) => self.record_evictions(Closed::TooManyConnections, evicted),
            }
            changed.await;
        }
    }

    fn record_evictions(&self, why: Closed, evicted: usize) {
        if evicted > 0 {
            self.metrics.connections_closed.inc_by(why, evicted as u64);
            // A connection that waits for bytes may be among the evicted ones.
            self.changed.notify_waiters();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    pub(crate) fn begin_request(&self) -> HeldBytes<'_> {
        self.set(State::Incomplete);
        HeldBytes(self)
    }

    fn set(&self, state: State) {
        self.connections.table().set(self.id, state, Instant::now());
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.table().remove(self.id);
        self.connections.changed.notify_waiters();
    }
}

impl HeldBytes<'_> {
    /// Waits until the request may hold that many additional bytes.
    ///
    /// # Errors
    /// If the request itself is evicted, because it has been incomplete for the longest time.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Evicted> {
        let connections = &self.0.connections;
        loop {
            let changed = connections.changed.notified();
            let grant = connections.table().grow(self.0.id, bytes, Instant::now());
            match grant {
                Grant::Granted => return Ok(()),
                Grant::Wait(evicted) => connections.record_evictions(Closed::TooManyBytes, evicted),
                Grant::Evicted => {
                    connections.record_evictions(Closed::TooManyBytes, 1);
                    return Err(Evicted);
                }
            }
            let _ = tokio::time::timeout(RECHECK_INTERVAL, changed).await;
        }
    }

    /// Releases all but that many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.0.connections.table().shrink(self.0.id, bytes);
        self.0.connections.changed.notify_waiters();
    }

    /// Marks the request as complete: it is never evicted.
    pub(crate) fn mark_complete(&mut self) {
        self.0.set(State::Complete);
    }
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        self.0.set(State::Incomplete);
        self.shrink_to(0);
    }
}

impl Table {
    /// Admits a connection. At the limit, the source with the most connections loses the one that has been
    /// incomplete for the longest time, so that other sources are not affected. `Err`: a connection will end
    /// soon; this many were evicted.
    fn admit(&mut self, source: IpAddr, socket: &mut Option<TcpStream>, now: Instant) -> Result<u64, usize> {
        if self.entries.len() < self.limits.connections {
            let (id, state) = (self.next, State::Incomplete);
            self.entries.insert(id, Entry { source, state, since: now, bytes: 0, socket: socket.take() });
            self.next += 1;
            return Ok(id);
        }
        let staying = || self.entries.iter().filter(|(_, entry)| entry.state != State::Evicted);
        if staying().count() < self.limits.connections {
            return Err(0);
        }
        let mut of_source = HashMap::new();
        for (_, entry) in staying() {
            *of_source.entry(entry.source).or_insert(0_usize) += 1;
        }
        let unfinished = staying().filter(|(_, entry)| entry.state == State::Incomplete);
        let first = unfinished
            .min_by_key(|(_, entry)| (std::cmp::Reverse(of_source.get(&entry.source).copied()), entry.since));
        let Some(first) = first.map(|(id, _)| *id) else { return Err(0) };
        self.evict(first);
        Err(1)
    }

    /// Grants more bytes to a request. At the limit, the requests that have been incomplete for the longest
    /// time are evicted until there are enough bytes; for a request that is not small, only those whose grace
    /// period is over.
    fn grow(&mut self, id: u64, bytes: usize, now: Instant) -> Grant {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state != State::Evicted) else {
            return Grant::Evicted;
        };
        if self.bytes + bytes <= self.limits.bytes {
            self.bytes += bytes;
            entry.bytes += bytes;
            return Grant::Granted;
        }
        let grace = if entry.bytes + bytes <= SMALL_REQUEST { Duration::ZERO } else { GRACE_PERIOD };
        let mut evicted = 0;
        loop {
            let of_evicted = self.entries.values().filter(|entry| entry.state == State::Evicted);
            let leaving: usize = of_evicted.map(|entry| entry.bytes).sum();
            if self.bytes + bytes <= self.limits.bytes + leaving {
                return Grant::Wait(evicted);
            }
            let unfinished = self.entries.iter().filter(|(_, entry)| {
                entry.state == State::Incomplete && entry.bytes > 0 && now - entry.since >= grace
            });
            match unfinished.min_by_key(|(_, entry)| entry.since).map(|(first, _)| *first) {
                Some(first) if first == id => {
                    self.evict(id);
                    return Grant::Evicted;
                }
                Some(first) => self.evict(first),
                // The others are complete, or within their grace period.
                None => return Grant::Wait(evicted),
            }
            evicted += 1;
        }
    }

    fn shrink(&mut self, id: u64, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let less = entry.bytes.saturating_sub(bytes);
            entry.bytes -= less;
            self.bytes -= less;
        }
    }

    fn set(&mut self, id: u64, state: State, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state != State::Evicted) {
            (entry.state, entry.since) = (state, now);
        }
    }

    /// Shuts the socket of a connection down: its task reads the end and fails to write, whatever it waits
    /// for, and ends.
    fn evict(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::Evicted;
            // A connection that the client has closed needs no shutdown.
            let _ = entry.socket.take().map(|socket| socket.shutdown(Shutdown::Both));
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }
}

/// The source address of a connection: an IPv4-mapped IPv6 address becomes the IPv4 address.
fn source(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

#[cfg(test)]
mod tests;
