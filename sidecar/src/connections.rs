//! The connections of clients to one port: the limits of their number and memory, and which connection is
//! closed at a limit. The caller passes the time.
//!
//! | when | the connection that is closed |
//! |---|---|
//! | a new connection arrives, and its source is at its limit | the connection of that source that has been idle longest |
//! | a new connection arrives, and the port is at its limit | the connection that has been idle longest |
//! | a new connection arrives, and none of those is idle | the new connection |
//! | a connection needs memory, and the memory is at its limit | the idle connection that holds most; of several, the one that has been idle longest |
//! | a connection needs memory, and would then hold more than any idle one | that connection |
//!
//! A connection is idle while the server works on no complete request of it: between requests, while a
//! request is incomplete, and while the client does not read its answers. RFC 7766 section 6.2.3 lets a
//! server close idle connections when it has too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::metrics::{Limit, Metrics};
use crate::supervise::lock;

/// A limit, and its label in the metrics.
pub type Bound = (usize, Limit);

/// The limits of the connections to one port.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The number of connections.
    pub most: Bound,
    /// The number of connections of one source; 0: no limit.
    pub of_source: Bound,
    /// The memory of all connections together, in bytes.
    pub bytes: Bound,
    /// The memory that an open connection always holds, in bytes.
    pub bytes_of_each: usize,
}

/// The connections to one port.
#[derive(Debug)]
pub struct Connections {
    bounds: Bounds,
    metrics: Metrics,
    start: Instant,
    /// For each place: since when the connection has been idle, in nanoseconds from `start`, or [`BUSY`]. It
    /// is outside the table, so that a connection that is used takes no lock.
    idle_since: Box<[AtomicU64]>,
    table: Mutex<Table>,
}

/// A request is being answered, or the place is free.
const BUSY: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Table {
    /// The open connections, by place.
    open: Vec<Option<Open>>,
    free: Vec<usize>,
    of_source: HashMap<IpAddr, usize>,
    bytes: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Open {
    id: u64,
    source: IpAddr,
    bytes: usize,
    task: Option<AbortHandle>,
}

/// The place of one connection; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    place: usize,
    /// Tells this connection from a later one at the same place.
    id: u64,
}

/// Memory that a connection holds; dropping it releases the memory.
#[derive(Debug)]
pub struct Held {
    seat: Arc<Seat>,
    /// The amount in bytes.
    pub bytes: usize,
}

impl Connections {
    /// Without connections.
    pub fn new(bounds: Bounds, metrics: Metrics, now: Instant) -> Arc<Self> {
        let most = bounds.most.0;
        let open = std::iter::repeat_with(|| None).take(most).collect();
        let table = Table { open, free: (0..most).rev().collect(), ..Table::default() };
        let idle_since = std::iter::repeat_with(|| AtomicU64::new(BUSY)).take(most).collect();
        Arc::new(Self { bounds, metrics, start: now, idle_since, table: Mutex::new(table) })
    }

    /// A place for a new connection. At a limit, an idle connection is closed; `None`: the new connection
    /// must be closed.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: Instant) -> Option<Arc<Seat>> {
        let source = source.to_canonical();
        let Bounds { most: (_, most), of_source: (most_of_source, of_source), bytes_of_each, .. } =
            self.bounds;
        let mut table = lock(&self.table);
        let has = table.of_source.get(&source).copied().unwrap_or_default();
        if most_of_source > 0 && has >= most_of_source {
            self.metrics.limits.inc(of_source);
            let victim = self.longest_idle(|place| table.source(place) == Some(source))?;
            self.close(&mut table, victim);
        } else if table.free.is_empty() {
            self.metrics.limits.inc(most);
            let victim = self.longest_idle(|_| true)?;
            self.close(&mut table, victim);
        }
        let id = table.next_id;
        if !self.make_room(&mut table, id, 0, bytes_of_each) {
            return None;
        }
        let place = table.free.pop()?;
        table.next_id += 1;
        table.bytes += bytes_of_each;
        *table.of_source.entry(source).or_default() += 1;
        table.open[place] = Some(Open { id, source, bytes: bytes_of_each, task: None });
        drop(table);
        let seat = Seat { connections: Arc::clone(self), place, id };
        seat.idle_since(now);
        Some(Arc::new(seat))
    }

    /// The connection that has been idle longest, among those that `is_eligible` accepts.
    fn longest_idle(&self, is_eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let idle = self.idle_since.iter().map(|since| since.load(Ordering::Relaxed)).enumerate();
        let idle = idle.filter(|(place, since)| *since != BUSY && is_eligible(*place));
        idle.min_by_key(|(_, since)| *since).map(|(place, _)| place)
    }

    /// Closes idle connections until `more` bytes are free for the connection `id`, which holds `own` bytes.
    /// `false`: it would hold more than any idle one.
    fn make_room(&self, table: &mut Table, id: u64, own: usize, more: usize) -> bool {
        let (most, limit) = self.bounds.bytes;
        let mut is_counted = false;
        while table.bytes + more > most {
            if !std::mem::replace(&mut is_counted, true) {
                self.metrics.limits.inc(limit);
            }
            let others = table.open.iter().enumerate().filter_map(|(place, open)| {
                let open = open.as_ref().filter(|open| open.id != id)?;
                let since = self.idle_since[place].load(Ordering::Relaxed);
                (since != BUSY).then_some((open.bytes, u64::MAX - since, place))
            });
            match others.max() {
                Some((bytes, _, place)) if bytes >= own + more => self.close(table, place),
                _ => return false,
            }
        }
        true
    }

    /// Aborts the task of a connection, and so closes the connection.
    fn close(&self, table: &mut Table, place: usize) {
        if let Some(task) = self.free(table, place).and_then(|open| open.task) {
            task.abort();
        }
    }

    fn free(&self, table: &mut Table, place: usize) -> Option<Open> {
        let open = table.open.get_mut(place)?.take()?;
        self.idle_since[place].store(BUSY, Ordering::Relaxed);
        table.free.push(place);
        table.bytes -= open.bytes;
        if let Some(count) = table.of_source.get_mut(&open.source) {
            *count -= 1;
            if *count == 0 {
                table.of_source.remove(&open.source);
            }
        }
        Some(open)
    }
}

impl Table {
    fn source(&self, place: usize) -> Option<IpAddr> {
        Some(self.open.get(place)?.as_ref()?.source)
    }

    /// The entry of this connection, unless the place belongs to another connection by now.
    fn entry(&mut self, seat: &Seat) -> Option<&mut Open> {
        self.open.get_mut(seat.place)?.as_mut().filter(|open| open.id == seat.id)
    }
}

impl Seat {
    /// Sets the task that serves the connection; aborting it closes the connection.
    pub fn is_served_by(&self, task: AbortHandle) {
        match lock(&self.connections.table).entry(self) {
            Some(open) => open.task = Some(task),
            None => task.abort(),
        }
    }

    /// Marks the connection as idle since then.
    pub fn idle_since(&self, since: Instant) {
        let since = since.saturating_duration_since(self.connections.start).as_nanos();
        self.store(u64::try_from(since).unwrap_or(BUSY - 1));
    }

    /// Marks the connection as busy: a request of it is being answered.
    pub fn busy(&self) {
        self.store(BUSY);
    }

    fn store(&self, since: u64) {
        // If this connection was closed, the place may belong to the next one, which soon stores its own
        // time.
        self.connections.idle_since[self.place].store(since, Ordering::Relaxed);
    }

    /// Reserves memory, and closes idle connections if necessary; `None`: this connection is closed instead.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let mut table = lock(&self.connections.table);
        let own = table.entry(self)?.bytes;
        if !self.connections.make_room(&mut table, self.id, own, bytes) {
            self.connections.close(&mut table, self.place);
            return None;
        }
        table.entry(self)?.bytes += bytes;
        table.bytes += bytes;
        Some(Held { seat: Arc::clone(self), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = lock(&self.seat.connections.table);
        if let Some(open) = table.entry(&self.seat) {
            open.bytes -= self.bytes;
            table.bytes -= self.bytes;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = lock(&self.connections.table);
        if table.entry(self).is_some() {
            self.connections.free(&mut table, self.place);
        }
    }
}

/// Accepts connections without end, and calls `admit` with each one and its source.
pub async fn accept_all(listener: &TcpListener, admit: impl Fn(TcpStream, IpAddr)) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => admit(stream, client.ip()),
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

/// Closes a connection whose answers are all written, as soon as the client has received them, but at most
/// after a second. Answers that it has not received by then are discarded; the kernel would keep them for
/// minutes.
pub async fn part(mut stream: TcpStream) {
    let _ = stream.shutdown().await; // fails if the client has closed the connection
    let mut pause = Duration::from_millis(1);
    // The socket has no peer any more when both sides are closed and everything is acknowledged.
    while stream.peer_addr().is_ok() && pause < MAX_CLOSING_PAUSE {
        sleep(pause).await;
        pause *= 2;
    }
}

/// The pauses shorter than this add up to a second.
const MAX_CLOSING_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
