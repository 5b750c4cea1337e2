//! The connections of clients to one port: how many there may be, what memory they hold together, and which of them makes
//! room for another one. The time is passed in.
//!
//! | when | the connection that is closed |
//! |---|---|
//! | a new one comes, and its source has as many as it may | the one of that source that has been idle longest |
//! | a new one comes, and there are as many as there may be | the one that has been idle longest |
//! | a new one comes, and none of those is idle | the new one |
//! | one needs memory, and there is none | the idle one that holds most, and of several the one that has been idle longest |
//! | one needs memory, and it would hold most itself | that one |
//!
//! A connection is idle while no whole request of it is under way: between requests, while one is half sent, and while the
//! client does not read its answers (RFC 7766 section 6.2.3 lets a server close idle connections when it has too many).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::metrics::{Limit, Metrics};

/// A bound, and what is counted when it is reached.
pub type Bound = (usize, Limit);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many there may be.
    pub most: Bound,
    /// How many of one source; 0 for no limit.
    pub of_source: Bound,
    /// The memory that all of them may hold together, in bytes.
    pub bytes: Bound,
    /// The memory that each of them holds, whatever it does.
    pub bytes_of_each: usize,
}

/// The connections to one port.
#[derive(Debug)]
pub struct Connections {
    bounds: Bounds,
    metrics: Metrics,
    start: Instant,
    /// By place, beside the table, so that a connection that is used takes no lock: since when it has been idle, in
    /// nanoseconds from the start, or [`BUSY`].
    idle_since: Box<[AtomicU64]>,
    table: Mutex<Table>,
}

/// A request is under way, or the place is free.
const BUSY: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Table {
    /// By place.
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

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    place: usize,
    /// Another connection may have been given the place meanwhile.
    id: u64,
}

/// Memory that a connection holds until this is dropped.
#[derive(Debug)]
pub struct Held {
    seat: Arc<Seat>,
    /// How much, in bytes.
    pub bytes: usize,
}

impl Connections {
    /// None yet.
    pub fn new(bounds: Bounds, metrics: Metrics, now: Instant) -> Arc<Self> {
        let most = bounds.most.0;
        let table = Table { free: (0..most).rev().collect(), ..Table::default() };
        let idle_since = std::iter::repeat_with(|| AtomicU64::new(BUSY)).take(most).collect();
        Arc::new(Self { bounds, metrics, start: now, idle_since, table: Mutex::new(table) })
    }

    /// A place for a new connection, at the expense of an idle one if need be; `None`: it is to be closed.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: Instant) -> Option<Arc<Seat>> {
        let source = source.to_canonical();
        let Bounds { most: (_, most), of_source: (most_of_source, of_source), bytes_of_each, .. } =
            self.bounds;
        let mut table = self.lock();
        let has = table.of_source.get(&source).copied().unwrap_or_default();
        if most_of_source > 0 && has >= most_of_source {
            self.metrics.limit_reached(of_source);
            let victim = self.idle_longest(|place| table.source(place) == Some(source))?;
            self.close(&mut table, victim);
        } else if table.free.is_empty() {
            self.metrics.limit_reached(most);
            let victim = self.idle_longest(|_| true)?;
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
        if table.open.len() <= place {
            table.open.resize_with(place + 1, || None);
        }
        table.open[place] = Some(Open { id, source, bytes: bytes_of_each, task: None });
        drop(table);
        let seat = Seat { connections: Arc::clone(self), place, id };
        seat.idle_since(now);
        Some(Arc::new(seat))
    }

    /// The connection that has been idle longest, of those that `concerns` accepts.
    fn idle_longest(&self, concerns: impl Fn(usize) -> bool) -> Option<usize> {
        let idle = self.idle_since.iter().map(|since| since.load(Ordering::Relaxed)).enumerate();
        let idle = idle.filter(|(place, since)| *since != BUSY && concerns(*place));
        idle.min_by_key(|(_, since)| *since).map(|(place, _)| place)
    }

    /// Closes idle connections until `more` bytes are free for that one, which holds `own`; `false`: it would hold most.
    fn make_room(&self, table: &mut Table, id: u64, own: usize, more: usize) -> bool {
        let (most, limit) = self.bounds.bytes;
        let mut is_counted = false;
        while table.bytes + more > most {
            if !std::mem::replace(&mut is_counted, true) {
                self.metrics.limit_reached(limit);
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

    /// Ends a connection's task, and with it the connection.
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

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic while it is held costs a place at most.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn source(&self, place: usize) -> Option<IpAddr> {
        Some(self.open.get(place)?.as_ref()?.source)
    }

    /// That place, unless it is another connection's by now.
    fn of(&mut self, seat: &Seat) -> Option<&mut Open> {
        self.open.get_mut(seat.place)?.as_mut().filter(|open| open.id == seat.id)
    }
}

impl Seat {
    /// The task that serves the connection, by which it can be closed.
    pub fn is_served_by(&self, task: AbortHandle) {
        match self.connections.lock().of(self) {
            Some(open) => open.task = Some(task),
            None => task.abort(),
        }
    }

    /// It has been idle since then.
    pub fn idle_since(&self, since: Instant) {
        let since = since.saturating_duration_since(self.connections.start).as_nanos();
        self.note(u64::try_from(since).unwrap_or(BUSY - 1));
    }

    /// A request of it is under way.
    pub fn busy(&self) {
        self.note(BUSY);
    }

    fn note(&self, since: u64) {
        // Right after it was closed this may be the next one's place, which notes its own soon.
        self.connections.idle_since[self.place].store(since, Ordering::Relaxed);
    }

    /// Takes memory, at the expense of idle connections if need be; `None`: this one is closed.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let mut table = self.connections.lock();
        let own = table.of(self)?.bytes;
        if !self.connections.make_room(&mut table, self.id, own, bytes) {
            self.connections.close(&mut table, self.place);
            return None;
        }
        table.of(self)?.bytes += bytes;
        table.bytes += bytes;
        Some(Held { seat: Arc::clone(self), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.seat.connections.lock();
        if let Some(open) = table.of(&self.seat) {
            open.bytes -= self.bytes;
            table.bytes -= self.bytes;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        if table.of(self).is_some() {
            self.connections.free(&mut table, self.place);
        }
    }
}

/// Ends a connection whose answers are all written, when the client has received them, or after a second. What it has not
/// received by then is thrown away; the kernel would keep it for minutes.
pub async fn part(mut stream: TcpStream) {
    let _ = stream.shutdown().await; // fails when the client was first
    let mut pause = Duration::from_millis(1);
    // The kernel knows no peer any more when both sides have ended and everything is acknowledged.
    while stream.peer_addr().is_ok() && pause < PARTING {
        sleep(pause).await;
        pause *= 2;
    }
}

/// The pauses up to this one are a second together.
const PARTING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
