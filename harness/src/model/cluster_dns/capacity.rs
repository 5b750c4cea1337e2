//! The capacity of cluster DNS: one server, and one queue in order of arrival. Pure; the time is an argument.
//!
//! A real CoreDNS with a CPU limit accepts every query and becomes slow. Measured with 80 pods and 10
//! millicores: 1,606 queries in 27.1 s, some 60 per second, and no lookup fails. The limit of the queue is
//! for experiments.

use std::collections::VecDeque;
use std::time::Duration;

/// The capacity of cluster DNS and of the network to it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Capacity {
    /// Queries that it answers per second.
    pub per_second: f64,
    /// The largest number of waiting datagrams; `None`: no limit. Datagrams that arrive at a full queue are
    /// dropped, as by Linux when the socket's receive buffer is full (`UdpRcvbufErrors`). Queries over TCP
    /// wait at their clients.
    pub queue: Option<usize>,
    /// The share of datagrams that are lost on the network, in each direction; 0 to 1.
    pub loss: f64,
    /// The seed that decides which datagrams are lost.
    pub seed: u64,
}

impl Capacity {
    /// Reads a number of queries per second from a flag.
    pub fn parse_rate(text: &str) -> Result<f64, String> {
        match text.parse() {
            Ok(number) if number >= 1.0 && f64::is_finite(number) => Ok(number),
            _ => Err("expected a number of 1 or more".to_owned()),
        }
    }

    /// Reads a loss rate from a flag.
    pub fn parse_loss(text: &str) -> Result<f64, String> {
        match text.parse() {
            Ok(number) if (0.0..1.0).contains(&number) => Ok(number),
            _ => Err("expected a share: 0 or more, below 1".to_owned()),
        }
    }
}

/// The queue of one server. Times are measured from a fixed moment.
#[derive(Debug, Clone)]
pub(super) struct ServiceQueue {
    service: Duration,
    bound: usize,
    busy_until: Duration,
    /// The time at which each waiting datagram will be answered, ascending.
    datagrams: VecDeque<Duration>,
}

impl ServiceQueue {
    /// An empty queue.
    pub(super) fn new(capacity: &Capacity) -> Self {
        let service = Duration::from_secs_f64(1.0 / capacity.per_second);
        let bound = capacity.queue.unwrap_or(usize::MAX);
        Self { service, bound, busy_until: Duration::ZERO, datagrams: VecDeque::new() }
    }

    /// Accepts a query in a datagram. Returns the time of its answer, or `None` when the queue is full and it
    /// is dropped.
    pub(super) fn datagram(&mut self, now: Duration) -> Option<Duration> {
        while self.datagrams.front().is_some_and(|done| *done <= now) {
            self.datagrams.pop_front();
        }
        if self.datagrams.len() >= self.bound {
            return None;
        }
        let done = self.stream(now);
        self.datagrams.push_back(done);
        Some(done)
    }

    /// Accepts a query over TCP. Returns the time of its answer.
    pub(super) fn stream(&mut self, now: Duration) -> Duration {
        self.busy_until = self.busy_until.max(now) + self.service;
        self.busy_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { per_second: 100.0, queue: Some(3), loss: 0.0, seed: 0 };

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn queries_are_answered_one_after_the_other_at_the_service_rate() {
        let mut queue = ServiceQueue::new(&CAPACITY);
        let done: Vec<_> = (0..3).map(|_| queue.datagram(milliseconds(5))).collect();
        assert_eq!(done, [15, 25, 35].map(|at| Some(milliseconds(at))));
        // An idle server starts immediately.
        assert_eq!(queue.datagram(milliseconds(100)), Some(milliseconds(110)));
    }

    #[test]
    fn a_datagram_before_a_full_queue_is_dropped_and_takes_no_time() {
        let mut queue = ServiceQueue::new(&CAPACITY);
        let done: Vec<_> = (0..5).map(|_| queue.datagram(milliseconds(0)).is_some()).collect();
        assert_eq!(done, [true, true, true, false, false]);
        assert_eq!(queue.datagram(milliseconds(10)), Some(milliseconds(40)), "one has left");
    }

    #[test]
    fn a_query_over_tcp_waits_however_long_the_queue_is() {
        let mut queue = ServiceQueue::new(&CAPACITY);
        for _ in 0..10 {
            queue.stream(milliseconds(0));
        }
        assert_eq!(queue.stream(milliseconds(0)), milliseconds(110));
        assert_eq!(
            queue.datagram(milliseconds(0)),
            Some(milliseconds(120)),
            "the limit applies to datagrams"
        );
    }
}
