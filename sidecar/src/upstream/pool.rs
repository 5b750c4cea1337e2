//! Idle TCP connections. Pure bookkeeping: the streams and the time are passed in.
//!
//! A connection carries one query at a time: CoreDNS answers the queries of one connection in order, so a
//! second query would wait for the first. The exchange that takes a connection owns it, and returns it only
//! when its answer has arrived; the connection of a cancelled query is dropped, and so closed.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use podlocal_dns::upstream::fraction_of;

/// The idle connections to every server, by its index in the settings.
#[derive(Debug)]
pub struct Pool<T> {
    servers: Vec<Vec<Idle<T>>>,
}

#[derive(Debug)]
struct Idle<T> {
    connection: Connection<T>,
    /// When it expires, or has been idle for too long.
    until: Instant,
}

/// A connection, and until when it may be used.
#[derive(Debug)]
pub struct Connection<T> {
    /// The stream.
    pub stream: T,
    /// When the connection expires: no query is sent over it later.
    pub expires: Instant,
}

impl<T> Pool<T> {
    /// No connections yet.
    pub fn new(servers: usize) -> Self {
        Self { servers: std::iter::repeat_with(Vec::new).take(servers).collect() }
    }

    /// Takes the connection that was used last: the server is the least likely to have closed it.
    pub fn take(&mut self, server: usize, now: Instant) -> Option<Connection<T>> {
        let idle = self.servers.get_mut(server)?;
        idle.retain(|idle| now < idle.until);
        idle.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for the next query, unless it has expired or there are enough.
    pub fn put(&mut self, server: usize, connection: Connection<T>, now: Instant) {
        let Some(idle) = self.servers.get_mut(server) else { return };
        idle.retain(|idle| now < idle.until);
        let until = connection.expires.min(now + limits::UPSTREAM_IDLE);
        if idle.len() < limits::UPSTREAM_CONNECTIONS && now < until {
            idle.push(Idle { connection, until });
        }
    }

    /// Drops the connections that have expired.
    pub fn remove_expired(&mut self, now: Instant) {
        for idle in &mut self.servers {
            idle.retain(|idle| now < idle.until);
        }
    }

    /// Drops the idle connections to one server: they may be dead.
    pub fn clear(&mut self, server: usize) {
        if let Some(idle) = self.servers.get_mut(server) {
            idle.clear();
        }
    }

    /// The number of idle connections.
    pub fn count(&self) -> usize {
        self.servers.iter().map(Vec::len).sum()
    }
}

/// How long a new connection is used: 30 s, a quarter more or less. `chance` is a uniformly distributed
/// random number.
pub fn lifetime(chance: u16) -> Duration {
    limits::UPSTREAM_LIFETIME * 3 / 4 + fraction_of(limits::UPSTREAM_LIFETIME / 2, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(stream: u8, expires: Instant) -> Connection<u8> {
        Connection { stream, expires }
    }

    fn seconds(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_is_taken_by_one_and_the_last_used_first() {
        let now = Instant::now();
        let mut pool = Pool::new(2);
        for stream in [1, 2] {
            pool.put(0, connection(stream, seconds(now, 30)), now);
        }
        let taken = [0, 0, 0, 1].map(|server| pool.take(server, now).map(|connection| connection.stream));
        assert_eq!(taken, [Some(2), Some(1), None, None]);
    }

    #[test]
    fn a_connection_is_idle_for_less_than_ten_seconds_of_its_lifetime() {
        let start = Instant::now();
        for (lifetime, waited, usable) in
            [(30, 9, true), (30, 10, false), (5, 4, true), (5, 5, false), (0, 0, false)]
        {
            let (mut pool, now) = (Pool::new(1), seconds(start, waited));
            pool.put(0, connection(1, seconds(start, lifetime)), start);
            assert_eq!(pool.take(0, now).is_some(), usable, "{lifetime} s, after {waited} s");
            pool.put(0, connection(1, seconds(start, lifetime)), start);
            pool.remove_expired(now);
            assert_eq!(pool.count(), usize::from(usable), "{lifetime} s, after {waited} s");
        }
    }

    #[test]
    fn the_connections_to_one_server_are_cleared_alone() {
        let now = Instant::now();
        let mut pool = Pool::new(2);
        for server in [0, 0, 1] {
            pool.put(server, connection(1, seconds(now, 30)), now);
        }
        pool.clear(0);
        assert!(pool.take(0, now).is_none() && pool.take(1, now).is_some());
    }

    #[test]
    fn no_more_than_eight_are_kept() {
        let now = Instant::now();
        let mut pool = Pool::new(1);
        for stream in 0..20 {
            pool.put(0, connection(stream, seconds(now, 30)), now);
        }
        assert_eq!(pool.count(), 8);
    }

    #[test]
    fn lifetimes_are_spread_over_a_quarter_more_and_less() {
        assert_eq!(lifetime(0), Duration::from_millis(22_500));
        assert_eq!(lifetime(u16::MAX), Duration::from_millis(37_500));
    }
}
