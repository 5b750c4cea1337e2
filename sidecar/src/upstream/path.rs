//! What the path to a server lets through, learned from the outcome of queries: EDNS, and TCP. Pure: the time
//! is passed in.
//!
//! Queries carry EDNS, which the pod's own resolver may not use. Some old servers reject it, and some
//! firewalls drop it; the answers of such servers to queries without EDNS must still reach the client.
//!
//! | response to a query with EDNS | state of the server | then |
//! |---|---|---|
//! | NOERROR, NXDOMAIN | any | it supports EDNS, for a minute |
//! | FORMERR, NOTIMP, BADVERS | any | the query is sent again without EDNS, immediately |
//! | SERVFAIL | unknown | the same, unless the response has an Extended DNS Error (RFC 8914), or the query without EDNS failed recently as well |
//! | SERVFAIL | supports EDNS | it is a failure |
//! | silence | unknown | retransmissions have no EDNS; there are no additional ones |
//! | silence | supports EDNS | retransmissions have EDNS |
//!
//! An answer to a query without EDNS is a sign that the path rejects EDNS. After two such answers in a row,
//! with no answer to a query with EDNS between them, no query carries EDNS for a quarter of an hour.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use podlocal_dns::wire::Rcode;

use super::loop_detection::LoopMarker;
use super::spoofing::{CaseCheck, TcpFallbackBudget};
use crate::supervise::lock;

/// How long a server counts as supporting EDNS after an answer: a path may change.
const SUPPORTED_FOR: Duration = Duration::from_mins(1);

/// How long EDNS is not tried after it was rejected.
const REJECTED_FOR: Duration = Duration::from_mins(15);

/// One such answer may follow a lost datagram, or a failure that was over a moment later.
const ANSWERS_UNTIL_REJECTED: u8 = 2;

/// How long a SERVFAIL counts as a failure after the query without EDNS failed as well; each time in a row
/// doubles it.
const NO_FALLBACK_FOR: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(32)];

/// The path to one server.
#[derive(Debug)]
pub struct Path {
    /// The address of the server.
    pub address: SocketAddr,
    /// Whether it is a server of the shared tier.
    pub is_tier: bool,
    /// The marker of the queries to it.
    pub marker: LoopMarker,
    state: Mutex<PathState>,
}

/// The knowledge about a path.
#[derive(Debug, Default)]
pub struct PathState {
    /// Whether it lets EDNS through.
    pub edns: EdnsSupport,
    /// The limit on fallbacks to TCP after near misses.
    pub tcp_fallbacks: TcpFallbackBudget,
    /// Whether the server repeats the case of questions.
    pub case: CaseCheck,
}

impl Path {
    /// A path about which nothing is known, with a new marker.
    pub fn new(address: SocketAddr, is_tier: bool) -> std::io::Result<Self> {
        Ok(Self { address, is_tier, marker: LoopMarker::new()?, state: Mutex::default() })
    }

    /// The state, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, PathState> {
        lock(&self.state)
    }
}

/// Whether a server answers queries with EDNS.
#[derive(Debug, Default)]
pub struct EdnsSupport {
    supported_until: Option<Instant>,
    rejected_until: Option<Instant>,
    /// Answers to queries without EDNS since the last answer to one with EDNS.
    answers_without: u8,
    /// Until when SERVFAIL does not lead to a query without EDNS, and how often in a row such a query has
    /// failed.
    no_fallback_until: Option<Instant>,
    futile_fallbacks: u32,
}

impl EdnsSupport {
    /// Whether a query carries EDNS; `is_repeated`: it is a retransmission to a silent server.
    pub fn should_send(&self, is_repeated: bool, now: Instant) -> bool {
        let is_rejected = self.rejected_until.is_some_and(|until| now < until);
        !is_rejected && (!is_repeated || self.is_supported(now))
    }

    /// Whether EDNS may be the cause of that RCODE, so that the query is to be sent again without it.
    pub fn may_be_cause(&self, rcode: Rcode, now: Instant) -> bool {
        match rcode {
            Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS => true,
            Rcode::SERVFAIL => {
                !self.is_supported(now) && self.no_fallback_until.is_none_or(|until| now >= until)
            }
            _ => false,
        }
    }

    /// Records NOERROR or NXDOMAIN to a query with or without EDNS.
    pub fn record_answer(&mut self, with_edns: bool, now: Instant) {
        (self.no_fallback_until, self.futile_fallbacks) = (None, 0);
        if with_edns {
            (self.supported_until, self.rejected_until, self.answers_without) =
                (Some(now + SUPPORTED_FOR), None, 0);
            return;
        }
        self.answers_without = (self.answers_without + 1).min(ANSWERS_UNTIL_REJECTED);
        if self.answers_without == ANSWERS_UNTIL_REJECTED && self.should_send(false, now) {
            self.rejected_until = Some(now + REJECTED_FOR);
        }
    }

    /// Records that the query without EDNS failed as well.
    pub fn record_failure_without(&mut self, now: Instant) {
        let [first, longest] = NO_FALLBACK_FOR;
        let pause = (first * 2_u32.pow(self.futile_fallbacks.min(8))).min(longest);
        self.no_fallback_until = Some(now + pause);
        self.futile_fallbacks = self.futile_fallbacks.saturating_add(1);
    }

    fn is_supported(&self, now: Instant) -> bool {
        self.supported_until.is_some_and(|until| now < until)
    }
}

/// How long truncated answers are not fetched over TCP after two failures in a row; each further one doubles
/// it.
const NO_TCP_FOR: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(64)];

/// Whether TCP brings the answers that UDP truncates.
///
/// | fetches of truncated answers over TCP | the next truncated answer |
/// |---|---|
/// | succeeded, or there was none yet | is fetched over TCP |
/// | one failed | the same: the server may have been slow |
/// | two and more in a row failed | is returned as it is for 8, 16, 32, 64 s; then TCP is tried once |
#[derive(Debug, Default, Clone)]
pub struct TcpSupport {
    failures: u32,
    failed_until: Option<Instant>,
}

impl TcpSupport {
    /// Whether a truncated answer is fetched over TCP now. The one fetch after a pause starts the next pause,
    /// so that queries beside it do not wait as well.
    pub fn should_try(&mut self, now: Instant) -> bool {
        let is_tried = self.failed_until.is_none_or(|until| now >= until);
        if is_tried && self.failed_until.is_some() {
            let [first, _] = NO_TCP_FOR;
            self.failed_until = Some(now + first);
        }
        is_tried
    }

    /// Records that TCP brought no answer.
    pub fn record_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(2) {
            let [first, longest] = NO_TCP_FOR;
            self.failed_until = Some(now + (first * 2_u32.pow(more.min(8))).min(longest));
        }
    }

    /// Records that TCP brought an answer.
    pub fn record_answer(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn retransmissions_to_an_unknown_server_have_no_edns() {
        let (mut edns, now) = (EdnsSupport::default(), Instant::now());
        assert_eq!([false, true].map(|again| edns.should_send(again, now)), [true, false]);
        edns.record_answer(true, now);
        assert_eq!([false, true].map(|again| edns.should_send(again, after(now, 59))), [true, true]);
        assert_eq!([false, true].map(|again| edns.should_send(again, after(now, 60))), [true, false]);
    }

    #[test]
    fn two_answers_without_edns_disable_it_for_15_minutes() {
        let (mut edns, now) = (EdnsSupport::default(), Instant::now());
        edns.record_answer(false, now);
        assert!(edns.should_send(false, now), "one may be a lost datagram");
        edns.record_answer(true, now);
        edns.record_answer(false, now);
        assert!(edns.should_send(false, now), "not in a row");
        edns.record_answer(false, now);
        assert!(!edns.should_send(false, after(now, 899)));
        edns.record_answer(false, after(now, 899));
        assert!(edns.should_send(false, after(now, 900)), "tried again, however much is asked meanwhile");
        edns.record_answer(false, after(now, 901));
        assert!(!edns.should_send(false, after(now, 902)), "one sign confirms what was known");
    }

    #[test]
    fn edns_may_be_the_cause_until_the_server_supports_it() {
        let (mut edns, now) = (EdnsSupport::default(), Instant::now());
        let rcodes = [Rcode::FORMERR, Rcode::NOTIMP, Rcode::BADVERS, Rcode::SERVFAIL, Rcode::REFUSED];
        let may_be = |edns: &EdnsSupport, now| rcodes.map(|rcode| edns.may_be_cause(rcode, now));
        assert_eq!(may_be(&edns, now), [true, true, true, true, false]);
        edns.record_answer(true, now);
        assert_eq!(may_be(&edns, now), [true, true, true, false, false]);
    }

    #[test]
    fn a_server_that_fails_without_edns_too_is_queried_once() {
        let (mut edns, start) = (EdnsSupport::default(), Instant::now());
        let asked = |edns: &mut EdnsSupport, second| {
            let now = after(start, second);
            let is_asked = edns.may_be_cause(Rcode::SERVFAIL, now);
            if is_asked {
                edns.record_failure_without(now);
            }
            is_asked
        };
        let twice = (0..100).filter(|second| asked(&mut edns, *second)).count();
        assert_eq!(twice, 8, "after 0, 1, 3, 7, 15, 31, 63, 95 s");
        edns.record_answer(false, after(start, 100));
        assert!(edns.may_be_cause(Rcode::SERVFAIL, after(start, 100)), "an answer without is news");
    }

    #[test]
    fn tcp_that_failed_twice_is_tried_again_after_a_pause() {
        let (mut tcp, now) = (TcpSupport::default(), Instant::now());
        tcp.record_failure(now);
        assert!(tcp.should_try(now), "once says little");
        tcp.record_failure(now);
        assert!(!tcp.should_try(after(now, 7)));
        assert!(tcp.should_try(after(now, 8)));
        assert!(!tcp.should_try(after(now, 8)), "one at a time");
        tcp.record_failure(after(now, 9));
        assert!(!tcp.should_try(after(now, 24)));
        assert!(tcp.should_try(after(now, 25)));
        tcp.record_answer();
        assert!(tcp.should_try(after(now, 25)) && tcp.should_try(after(now, 25)));
    }
}
