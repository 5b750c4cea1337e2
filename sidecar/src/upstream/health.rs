//! Which servers are well. Pure: what happened and when in, a condition out.
//!
//! | what happens | what it means |
//! |---|---|
//! | any response of a server, SERVFAIL included | it is alive: its failures are forgotten |
//! | an attempt was silent to the end, or nobody listens there | a failure, unless the server answered anything since the exchange began: then one datagram was lost |
//! | two failures in a row, or a check of the tier without any answer | the server steps back: it is asked after those that have not |
//! | all have stepped back | down; they are all asked, in order |
//! | an exchange without any response for 400 ms, and no response to another either | down |
//! | the same for 2 s, probes included | dead: a tier says so when it is checked |
//!
//! "Silent to the end" is the deadline, or another server's answer after the silent one had its time.

use std::time::Duration;

use tokio::time::Instant;

use super::Condition;
use super::round_trip::RoundTrip;
use crate::limits;
use crate::metrics::ExchangeResult;

/// What is known of every server, by its place in the settings.
#[derive(Debug)]
pub struct Health {
    servers: Vec<Server>,
    /// How many of them, the first ones, are the shared tier.
    tier: usize,
    shortest_pause: Duration,
    /// When the first exchange began that no response has come since.
    unanswered_since: Option<Instant>,
    last_response: Option<Instant>,
}

#[derive(Debug, Default)]
struct Server {
    failures: u32,
    last_response: Option<Instant>,
    last_failure: Option<(Instant, ExchangeResult)>,
    round_trip: RoundTrip,
}

/// What is known of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is asked after those that have not.
    pub has_stepped_back: bool,
    /// Its failures in a row.
    pub failures: u32,
    /// How long it takes: the smoothed mean and the variation (RFC 6298).
    pub round_trip: Option<(Duration, Duration)>,
    /// When it last gave any response.
    pub last_response: Option<Instant>,
    /// When an attempt last brought nothing or an error, and which.
    pub last_failure: Option<(Instant, ExchangeResult)>,
}

impl Health {
    /// That many servers, of which the first `tier` are the shared tier, all well; each is given that time at least before
    /// the next attempt.
    pub fn new(servers: usize, tier: usize, shortest_pause: Duration) -> Self {
        let servers = std::iter::repeat_with(Server::default).take(servers).collect();
        Self { servers, tier, shortest_pause, unanswered_since: None, last_response: None }
    }

    /// An exchange begins.
    pub fn begun(&mut self, now: Instant) {
        self.unanswered_since.get_or_insert(now);
    }

    /// A server gave a response. Whether the servers were down until then.
    pub fn responded(&mut self, server: usize, now: Instant) -> bool {
        let was_down = self.condition(now).is_down;
        self.unanswered_since = None;
        self.last_response = Some(now);
        if let Some(server) = self.servers.get_mut(server) {
            server.failures = 0;
            server.last_response = Some(now);
        }
        was_down
    }

    /// How long a server took for one response.
    pub fn took(&mut self, server: usize, time: Duration) {
        if let Some(server) = self.servers.get_mut(server) {
            server.round_trip.observe(time);
        }
    }

    /// A server gave nothing to an exchange that began at `since`.
    pub fn failed(&mut self, server: usize, since: Instant) {
        if let Some(server) = self.servers.get_mut(server)
            && server.last_response.is_none_or(|response| response < since)
        {
            server.failures = server.failures.saturating_add(1);
        }
    }

    /// An attempt at a server brought nothing or an error; what that means for its health, others say.
    pub fn note_failure(&mut self, server: usize, result: ExchangeResult, now: Instant) {
        if let Some(server) = self.servers.get_mut(server) {
            server.last_failure = Some((now, result));
        }
    }

    /// What is known of each server.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |server: &Server| Standing {
            has_stepped_back: server.has_stepped_back(),
            failures: server.failures,
            round_trip: server.round_trip.smoothed(),
            last_response: server.last_response,
            last_failure: server.last_failure,
        };
        self.servers.iter().map(standing).collect()
    }

    /// A server of the tier has answered what it answers by itself: it is silent because it waits.
    pub fn is_alive(&mut self, server: usize, now: Instant) {
        self.unanswered_since = None;
        if let Some(server) = self.servers.get_mut(server) {
            (server.failures, server.last_response) = (0, Some(now));
        }
    }

    /// A server gave nothing to the checks that began at `since`: it steps back at once.
    pub fn is_dead(&mut self, server: usize, since: Instant) {
        for _ in 0..limits::FAILURES_IN_A_ROW {
            self.failed(server, since);
        }
    }

    /// Whether each server has stepped back.
    pub fn stepped_back(&self) -> Vec<bool> {
        self.servers.iter().map(Server::has_stepped_back).collect()
    }

    /// How long to wait for a server before the next attempt.
    pub fn pause(&self, server: usize) -> Duration {
        let shortest = self.shortest_pause;
        self.servers.get(server).map_or(shortest, |server| server.round_trip.pause(shortest))
    }

    /// How the servers are.
    pub fn condition(&self, now: Instant) -> Condition {
        let silent_for = self.unanswered_since.map(|since| now.saturating_duration_since(since));
        let are_silent = silent_for.is_some_and(|time| time >= limits::SILENCE);
        Condition {
            is_down: are_silent || self.servers.iter().all(Server::has_stepped_back),
            is_dead: silent_for.is_some_and(|time| time >= limits::DEAD_AFTER),
            last_response: self.last_response,
        }
    }

    /// The servers whose return is to be watched for: those that have stepped back, all when they are down. While a server
    /// of the tier has not stepped back, only the tier was asked, and its silence says nothing of the others.
    pub fn to_probe(&self, now: Instant) -> Vec<usize> {
        let is_down = self.condition(now).is_down;
        let mut of_tier = self.servers.iter().take(self.tier);
        let asks_tier_only = of_tier.any(|server| !server.has_stepped_back());
        let concerned = |(index, server): &(usize, &Server)| {
            server.has_stepped_back() || is_down && (!asks_tier_only || *index < self.tier)
        };
        self.servers.iter().enumerate().filter(concerned).map(|(index, _)| index).collect()
    }
}

impl Server {
    fn has_stepped_back(&self) -> bool {
        self.failures >= limits::FAILURES_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(300);

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_server_steps_back_after_two_failures_in_a_row_and_returns_with_any_response() {
        let start = Instant::now();
        let mut health = Health::new(2, 0, SHORTEST);
        health.failed(0, start);
        assert_eq!(health.stepped_back(), [false, false]);
        health.responded(0, at(start, 1));
        health.failed(0, at(start, 2));
        assert_eq!(health.stepped_back(), [false, false], "not in a row");
        health.failed(0, at(start, 3));
        assert_eq!(health.stepped_back(), [true, false]);
        assert_eq!(health.to_probe(at(start, 3)), [0]);
        assert!(!health.condition(at(start, 3)).is_down, "the other one is well");
        assert!(!health.responded(0, at(start, 4)));
        assert_eq!(health.stepped_back(), [false, false]);
    }

    #[test]
    fn a_server_whose_checks_were_all_silent_steps_back_at_once_unless_it_has_answered_since() {
        let start = Instant::now();
        let mut health = Health::new(2, 0, SHORTEST);
        health.is_dead(0, start);
        assert_eq!(health.stepped_back(), [true, false]);
        health.responded(0, at(start, 2));
        health.is_dead(0, at(start, 1));
        assert_eq!(health.stepped_back(), [false, false]);
    }

    #[test]
    fn a_lost_datagram_of_a_server_that_answers_others_is_no_failure() {
        let start = Instant::now();
        let mut health = Health::new(1, 0, SHORTEST);
        health.responded(0, at(start, 1));
        for _ in 0..10 {
            health.failed(0, start);
        }
        assert_eq!(health.stepped_back(), [false]);
    }

    #[test]
    fn all_stepped_back_is_down_until_one_responds() {
        let start = Instant::now();
        let mut health = Health::new(2, 0, SHORTEST);
        for server in [0, 0, 1, 1] {
            assert!(!health.condition(start).is_down);
            health.failed(server, start);
        }
        assert!(health.condition(start).is_down);
        assert!(health.responded(1, at(start, 1)), "they were down");
        assert_eq!(
            health.condition(at(start, 2)),
            Condition { is_down: false, is_dead: false, last_response: Some(at(start, 1)) }
        );
        assert_eq!(health.to_probe(at(start, 2)), [0]);
    }

    #[test]
    fn silence_of_400_ms_is_down_and_a_response_since_the_exchange_began_is_not_silence() {
        let start = Instant::now();
        let mut health = Health::new(1, 0, SHORTEST);
        health.begun(start);
        health.begun(at(start, 300));
        assert!(!health.condition(at(start, 399)).is_down);
        assert!(health.condition(at(start, 400)).is_down);
        assert_eq!(health.to_probe(at(start, 400)), [0]);
        health.responded(0, at(start, 500));
        assert!(!health.condition(at(start, 5000)).is_down, "both exchanges began before the response");
        health.begun(at(start, 5000));
        assert!(!health.condition(at(start, 6999)).is_dead && health.condition(at(start, 7000)).is_dead);
        assert!(!health.condition(at(start, 5399)).is_down);
        assert!(health.condition(at(start, 5400)).is_down);
    }

    #[test]
    fn a_tier_that_answers_its_checks_is_not_down_and_what_it_did_not_answer_is_no_failure() {
        let start = Instant::now();
        let mut health = Health::new(2, 1, SHORTEST);
        health.begun(start);
        health.failed(0, start);
        health.is_alive(0, at(start, 200));
        health.failed(0, at(start, 100));
        assert!(!health.condition(at(start, 5000)).is_down && !health.stepped_back()[0]);
        assert_eq!(health.condition(at(start, 200)).last_response, None, "that was no answer to a question");
    }

    #[test]
    fn cluster_dns_is_not_probed_because_the_tier_is_silent() {
        let start = Instant::now();
        let mut health = Health::new(2, 1, SHORTEST);
        health.begun(start);
        assert_eq!(health.to_probe(at(start, 400)), [0]);
        health.is_dead(0, start);
        assert_eq!(health.to_probe(at(start, 400)), [0, 1], "both are silent");
        health.responded(1, at(start, 500));
        assert_eq!(health.to_probe(at(start, 500)), [0]);
    }

    #[test]
    fn each_server_has_its_own_pause() {
        let mut health = Health::new(2, 0, SHORTEST);
        health.took(1, Duration::from_secs(2));
        assert_eq!(health.pause(0), SHORTEST);
        assert_eq!(health.pause(1), limits::LONGEST_PAUSE);
    }

    #[test]
    fn the_last_failure_is_remembered_whatever_it_means_for_the_health() {
        let start = Instant::now();
        let mut health = Health::new(2, 0, SHORTEST);
        health.took(1, Duration::from_millis(8));
        health.note_failure(1, ExchangeResult::Unreachable, start);
        health.note_failure(1, ExchangeResult::Silent, at(start, 5));
        let [first, second] = health.standings().try_into().expect("two servers");
        assert_eq!((first.last_failure, first.round_trip), (None, None));
        assert_eq!(second.last_failure, Some((at(start, 5), ExchangeResult::Silent)));
        assert_eq!(second.round_trip, Some((Duration::from_millis(8), Duration::from_millis(4))));
        assert!(!second.has_stepped_back && second.failures == 0);
    }
}
