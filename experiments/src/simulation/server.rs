//! A server under a CPU limit. Pure: the time is an argument.
//!
//! CoreDNS reads every datagram as soon as it may run, and starts a goroutine for each: it drops nothing and
//! becomes slow. A CPU limit lets it work for a part of every 100 ms (`cpu.max`) and throttles it for the
//! rest; only then the socket's buffer fills and overflows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The period of the kernel's CPU bandwidth control, as the kubelet sets it.
const PERIOD: Duration = Duration::from_millis(100);

/// The cost of a query over a new TCP connection, in multiples of a query over UDP.
const TCP_WEIGHT: u32 = 3;

/// The capacity of a server.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// The CPU time that it may use in each period of 100 ms, over all cores; `None`: no limit.
    pub quota: Option<Duration>,
    /// The number of its cores.
    pub cores: u32,
    /// The CPU time of one query over UDP.
    pub work: Duration,
    /// The CPU time that a limited server loses in each period, because it is throttled and woken.
    pub overhead: Duration,
    /// The datagrams that its socket holds; more are dropped.
    pub buffer: usize,
    /// Whether it reads all datagrams whenever it may run; otherwise one query after the other.
    pub reads_ahead: bool,
    /// Whether queries are answered in the order of arrival; otherwise in random order.
    pub is_fifo: bool,
}

impl Capacity {
    /// CoreDNS without a limit. The kernel's default buffer of 208 KiB (`net.core.rmem_default`) holds 277
    /// small queries, each of which it counts as 768 bytes.
    pub const CORE_DNS: Self = Self {
        quota: None,
        cores: 2,
        work: Duration::from_micros(103),
        overhead: Duration::from_micros(380),
        buffer: 277,
        reads_ahead: true,
        is_fifo: true,
    };

    /// A replica of the shared tier: two cores that answer 200,000 queries a second each, from sockets that
    /// hold 540 datagrams each.
    pub const TIER: Self = Self {
        quota: None,
        cores: 2,
        work: Duration::from_micros(5),
        overhead: Duration::ZERO,
        buffer: 2 * 540,
        reads_ahead: false,
        is_fifo: true,
    };

    /// CoreDNS with a CPU limit.
    pub fn with_limit(millicores: u32) -> Self {
        Self::with_quota(PERIOD * millicores / 1000)
    }

    /// CoreDNS with the limit at which it needs `time` for `queries` queries.
    pub fn that_answers(queries: u32, time: Duration) -> Self {
        let work = (Self::CORE_DNS.work * queries).mul_f64(PERIOD.as_secs_f64() / time.as_secs_f64());
        Self::with_quota(work + Self::CORE_DNS.overhead)
    }

    fn with_quota(quota: Duration) -> Self {
        let mut capacity = Self { quota: Some(quota), ..Self::CORE_DNS };
        // A limit above one core means several replicas.
        while PERIOD * capacity.cores < quota {
            capacity.cores += 1;
        }
        capacity
    }

    /// The part of the quota that is left for queries.
    fn usable(&self) -> Duration {
        let all = PERIOD * self.cores;
        self.quota.map_or(all, |quota| quota.min(all).saturating_sub(self.overhead).max(LEAST_USABLE))
    }
}

/// The CPU time for queries in a period that even the smallest limit leaves.
const LEAST_USABLE: Duration = Duration::from_micros(50);

/// One server and the queries that wait there.
#[derive(Debug)]
pub(super) struct Server<Query> {
    capacity: Capacity,
    start: Instant,
    /// The period in which it last worked, and the CPU time that is left in it.
    period: u32,
    left: Duration,
    /// The interval in which it is throttled.
    pause: [Instant; 2],
    /// Whether it is working, or waits for the end of the pause.
    is_busy: bool,
    under_way: Option<Query>,
    /// Queries that are read and not yet answered, each with its cost in multiples of a query over UDP.
    waiting: VecDeque<(Query, u32)>,
    /// Queries in the socket.
    unread: VecDeque<(Query, u32)>,
}

impl<Query> Server<Query> {
    pub(super) fn new(capacity: Capacity, start: Instant) -> Self {
        let (waiting, unread) = (VecDeque::new(), VecDeque::new());
        let (left, pause) = (capacity.usable(), [start; 2]);
        Self { capacity, start, period: 0, left, pause, is_busy: false, under_way: None, waiting, unread }
    }

    /// A query arrives. Returns `false` when the datagram is dropped.
    pub(super) fn arrive(&mut self, query: Query, is_tcp: bool, now: Instant) -> bool {
        let weight = if is_tcp { TCP_WEIGHT } else { 1 };
        if self.capacity.reads_ahead && !self.is_paused(now) {
            self.read();
            self.waiting.push_back((query, weight));
            return true;
        }
        // A query over a connection waits at the client.
        let is_kept = is_tcp || self.unread.len() < self.capacity.buffer;
        if is_kept {
            self.unread.push_back((query, weight));
        }
        is_kept
    }

    /// Starts the next work if it is idle. Returns the time at which to call [`Server::end`].
    pub(super) fn begin(&mut self, now: Instant, random: &mut fastrand::Rng) -> Option<Instant> {
        if self.is_busy || (self.waiting.is_empty() && self.unread.is_empty()) {
            return None;
        }
        self.is_busy = true;
        if self.is_paused(now) {
            return Some(self.pause[1]);
        }
        self.read();
        let at = if self.capacity.is_fifo { 0 } else { random.usize(..self.waiting.len()) };
        let (query, weight) = self.waiting.swap_remove_front(at)?;
        self.under_way = Some(query);
        Some(self.work(self.capacity.work * weight, now))
    }

    /// Ends the work or the pause. Returns the answered query.
    pub(super) fn end(&mut self) -> Option<Query> {
        self.is_busy = false;
        self.under_way.take()
    }

    /// The time at which this amount of CPU time has been used.
    fn work(&mut self, mut work: Duration, now: Instant) -> Instant {
        let period = u32::try_from((now - self.start).as_nanos() / PERIOD.as_nanos()).unwrap_or(u32::MAX);
        if period > self.period {
            (self.period, self.left) = (period, self.capacity.usable());
        }
        let mut at = now;
        while work >= self.left {
            work -= self.left;
            let exhausted_at = at + self.left / self.capacity.cores;
            (self.period, self.left) = (self.period + 1, self.capacity.usable());
            at = exhausted_at.max(self.start + PERIOD * self.period);
            self.pause = [exhausted_at, at];
        }
        self.left -= work;
        at + work / self.capacity.cores
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.pause[0] <= now && now < self.pause[1]
    }

    fn read(&mut self) {
        self.waiting.append(&mut self.unread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity {
        quota: Some(Duration::from_millis(2)),
        cores: 1,
        work: Duration::from_millis(1),
        overhead: Duration::ZERO,
        buffer: 3,
        reads_ahead: true,
        is_fifo: true,
    };

    /// The time of each answer, in milliseconds.
    fn answered(server: &mut Server<usize>, start: Instant) -> Vec<(usize, u128)> {
        let (mut random, mut now, mut answered) = (fastrand::Rng::with_seed(1), start, Vec::new());
        while let Some(at) = server.begin(now, &mut random) {
            now = at;
            answered.extend(server.end().map(|query| (query, (now - start).as_millis())));
        }
        answered
    }

    #[test]
    fn a_server_works_for_its_quota_in_each_period() {
        let start = Instant::now();
        let mut server = Server::new(CAPACITY, start);
        (0..5).for_each(|query| assert!(server.arrive(query, false, start)));
        assert_eq!(answered(&mut server, start), [(0, 1), (1, 100), (2, 101), (3, 200), (4, 201)]);
    }

    #[test]
    fn the_socket_overflows_only_while_the_server_may_not_run() {
        let start = Instant::now();
        let mut server = Server::new(CAPACITY, start);
        (0..5).for_each(|query| assert!(server.arrive(query, false, start)));
        assert_eq!(server.begin(start, &mut fastrand::Rng::new()), Some(start + CAPACITY.work));
        server.end();
        server.begin(start + CAPACITY.work, &mut fastrand::Rng::new());
        let now = start + CAPACITY.work * 2;
        let is_kept = [false, false, false, false, true].map(|is_tcp| server.arrive(9, is_tcp, now));
        assert_eq!(is_kept, [true, true, true, false, true]);
    }

    #[test]
    fn a_server_that_does_not_read_ahead_drops_what_its_socket_cannot_hold() {
        let start = Instant::now();
        let mut server = Server::new(Capacity { reads_ahead: false, quota: None, ..CAPACITY }, start);
        let is_kept = [0, 1, 2, 3].map(|query| server.arrive(query, false, start));
        assert_eq!(is_kept, [true, true, true, false]);
        assert_eq!(answered(&mut server, start), [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn a_limit_is_a_share_of_each_period() {
        assert_eq!(Capacity::with_limit(10).usable(), Duration::from_micros(620));
        assert_eq!(Capacity::with_limit(4000).cores, 4);
        let capacity = Capacity::that_answers(1000, Duration::from_secs(10));
        assert_eq!(capacity.usable() * 100, capacity.work * 1000);
    }
}
