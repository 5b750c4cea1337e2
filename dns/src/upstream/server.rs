//! One server: its retransmission timer, and its health.
//!
//! | event | effect |
//! |---|---|
//! | any response, SERVFAIL included | the server is alive: its failures are forgotten, the timer restarts |
//! | its timer expires, or another server is queried instead | a failure, unless it has answered anything since the exchange began |
//! | it refuses | a failure, under the same condition |
//! | two failures in a row | it is ejected: queried after the healthy servers |
//! | two refusals in a row, or no answer to the probes of the tier | it also counts as refusing: no exchange waits for it |
//! | a query arrives while it is ejected | it gets that query as well, as a trial, after 1, 2, 4, 8 s; without queries there are no trials |

use std::time::{Duration, Instant};

use super::round_trip::{INITIAL_TIMER, MAX_TIMER, RoundTrip};

/// Failures in a row after which a server is ejected. One may be a lost datagram.
const FAILURES_IN_A_ROW: u32 = 2;

/// Queries that are sent within so short a time may be answered in any order (`RACK.reo_wnd`, RFC 8985
/// section 6.2).
const REORDERING: Duration = Duration::from_millis(25);

/// The first and the longest interval between two trials of an ejected server.
const TRIAL_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];

#[derive(Debug, Default)]
pub(super) struct Server {
    round_trip: RoundTrip,
    /// How often the timer has expired since the last response.
    expiries: u32,
    /// When the timer expires. It is not looked at while no query waits for the server.
    expires_at: Option<Instant>,
    /// The latest time to which new queries may postpone that; `None` while nothing has been sent since the
    /// last response.
    latest_expiry: Option<Instant>,
    /// When the latest query was sent that the server has answered (`RACK.xmit_ts`, RFC 8985 section 5.2).
    latest_answered: Option<Instant>,
    failures: u32,
    refusals: u32,
    last_response: Option<Instant>,
    trials: u32,
    trial_at: Option<Instant>,
}

/// The state of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStatus {
    /// Whether it is queried only after the healthy servers.
    pub is_ejected: bool,
    /// Its failures in a row.
    pub failures: u32,
    /// Its round-trip time: SRTT and RTTVAR (RFC 6298); `None` before its first response.
    pub round_trip: Option<(Duration, Duration)>,
    /// When it last gave a response with any RCODE.
    pub last_response: Option<Instant>,
}

impl Server {
    /// A query is sent to the server. The timer restarts: the response to the new query shows as well as a
    /// retransmission that the server is alive and which earlier queries are lost (RFC 8985 section 7.2). But
    /// new queries cannot postpone the expiry forever: the timer expires after twice its time at the latest.
    pub(super) fn record_sent(&mut self, now: Instant) {
        let timer = self.timer();
        let until = *self.latest_expiry.get_or_insert(now + timer * 2);
        self.expires_at = Some((now + timer).min(until));
    }

    /// Records a response. Returns whether that is a recovery: the timer had expired, or has become much
    /// shorter.
    pub(super) fn record_response(&mut self, sent_at: Instant, now: Instant) -> bool {
        let timer_before = self.round_trip.timer();
        self.round_trip.observe(now.saturating_duration_since(sent_at));
        self.latest_answered = self.latest_answered.max(Some(sent_at));
        self.mark_alive(now);
        let was_silent = std::mem::take(&mut self.expiries) > 0;
        (self.expires_at, self.latest_expiry) = (Some(now + self.timer()), None);
        was_silent || self.round_trip.timer() < timer_before / 2
    }

    /// Records that the server is alive, although it has answered no query.
    pub(super) fn mark_alive(&mut self, now: Instant) {
        (self.failures, self.refusals, self.last_response) = (0, 0, Some(now));
        (self.trials, self.trial_at) = (0, None);
    }

    /// Records that the server refuses an exchange that began at `since`.
    pub(super) fn record_refusal(&mut self, since: Instant, now: Instant) {
        self.record_failure(since, now);
        self.refusals = if self.failures == 0 { 0 } else { self.refusals.saturating_add(1) };
    }

    /// Records that the server, one of the tier, answered none of the probes that began at `since`.
    pub(super) fn mark_dead(&mut self, since: Instant, now: Instant) {
        for _ in 0..FAILURES_IN_A_ROW {
            self.record_refusal(since, now);
        }
    }

    /// Records that the server did not answer an exchange that began at `since`.
    pub(super) fn record_failure(&mut self, since: Instant, now: Instant) {
        if self.last_response.is_none_or(|response| response < since) {
            self.failures = self.failures.saturating_add(1);
            if self.is_ejected() && self.trial_at.is_none() {
                self.trial_at = Some(now + TRIAL_INTERVALS[0]);
            }
        }
    }

    /// Records that the timer has expired and one query of the whole pod is retransmitted: the timer doubles.
    pub(super) fn record_expiry(&mut self, now: Instant) {
        self.expiries = self.expiries.saturating_add(1);
        let timer = self.timer();
        (self.expires_at, self.latest_expiry) = (Some(now + timer), Some(now + timer * 2));
    }

    /// The time to wait for a response; every expiry doubles it.
    fn timer(&self) -> Duration {
        (self.round_trip.timer().min(MAX_TIMER) * 2_u32.saturating_pow(self.expiries.min(8))).min(MAX_TIMER)
    }

    /// The time after which a single query counts as late.
    pub(super) fn late_after(&self) -> Duration {
        self.round_trip.timer()
    }

    /// Whether its timer is short compared with the time that clients wait.
    pub(super) fn is_fast(&self) -> bool {
        self.round_trip.timer() < INITIAL_TIMER
    }

    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// Whether it has answered a query that was sent later than `sent_at`, or so little earlier that the
    /// order of arrival says nothing: then it should also have answered the query that was sent at `sent_at`.
    pub(super) fn has_answered_later(&self, sent_at: Instant) -> bool {
        self.latest_answered.is_some_and(|answered| answered + REORDERING >= sent_at)
    }

    /// Whether it has refused several times in a row, so that waiting for it is of no use.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusals >= FAILURES_IN_A_ROW
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.failures >= FAILURES_IN_A_ROW
    }

    /// Whether the ejected server gets this query as a trial; schedules the next trial.
    pub(super) fn is_trial_due(&mut self, now: Instant) -> bool {
        let is_due = self.is_ejected() && self.trial_at.is_some_and(|at| now >= at);
        if is_due {
            self.trials = (self.trials + 1).min(8);
            self.trial_at = Some(now + (TRIAL_INTERVALS[0] * 2_u32.pow(self.trials)).min(TRIAL_INTERVALS[1]));
        }
        is_due
    }

    pub(super) fn status(&self) -> ServerStatus {
        ServerStatus {
            is_ejected: self.is_ejected(),
            failures: self.failures,
            round_trip: self.round_trip.smoothed(),
            last_response: self.last_response,
        }
    }
}
