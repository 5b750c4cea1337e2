//! One server: its retransmission timer, and whether it is healthy.
//!
//! | what happens | what it means |
//! |---|---|
//! | any response, SERVFAIL included | it is alive: its failures are forgotten, the timer starts anew |
//! | its timer expires, or another server is asked in its place | a failure, unless it answered anything since the exchange began |
//! | it refuses | the same |
//! | two failures in a row | it is ejected: asked after the healthy ones |
//! | two refusals in a row, or checks of the tier without any answer | it is gone, too: nobody waits for it |
//! | it is ejected, and a question is asked | it is tried as well, after 1, 2, 4, 8 s: nobody asks for its own sake |

use std::time::{Duration, Instant};

use super::round_trip::{LONGEST, NO_SAMPLE, RoundTrip};

/// Failures in a row after which a server is ejected. One may be a lost datagram.
const FAILURES_IN_A_ROW: u32 = 2;

/// Questions that are sent within so short a time may be answered in any order (`RACK.reo_wnd`, RFC 8985 section 6.2).
const REORDERING: Duration = Duration::from_millis(25);

/// The first and the longest time between two trials of an ejected server.
const TRIALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];

#[derive(Debug, Default)]
pub(super) struct Server {
    round_trip: RoundTrip,
    /// How often the timer has expired since the last response.
    expiries: u32,
    /// When the timer expires. Nobody looks at it while nothing waits for the server.
    expires_at: Option<Instant>,
    /// Until when new questions may put that off; `None` while nothing has been sent since the last response.
    put_off_until: Option<Instant>,
    /// When the latest question was sent that it has answered (`RACK.xmit_ts`, RFC 8985 section 5.2).
    latest_answered: Option<Instant>,
    failures: u32,
    refusals: u32,
    last_response: Option<Instant>,
    trials: u32,
    trial_at: Option<Instant>,
}

/// What is known of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is asked after the healthy ones.
    pub is_ejected: bool,
    /// Its failures in a row.
    pub failures: u32,
    /// How long it takes: SRTT and RTTVAR (RFC 6298).
    pub round_trip: Option<(Duration, Duration)>,
    /// When it last gave any response.
    pub last_response: Option<Instant>,
}

impl Server {
    /// A question is sent to it. The timer begins again: whether the server is there, and what was lost before, the answer
    /// to the new question shows as well as one that is sent again (RFC 8985 section 7.2). But not for ever: it expires after
    /// twice its time, whatever is asked meanwhile.
    pub(super) fn sent(&mut self, now: Instant) {
        let timer = self.timer();
        let until = *self.put_off_until.get_or_insert(now + timer * 2);
        self.expires_at = Some((now + timer).min(until));
    }

    /// It gave a response. Whether that is news: its timer had expired, or has become much shorter.
    pub(super) fn responded(&mut self, sent_at: Instant, now: Instant) -> bool {
        let timer_before = self.round_trip.timer();
        self.round_trip.observe(now.saturating_duration_since(sent_at));
        self.latest_answered = self.latest_answered.max(Some(sent_at));
        self.is_alive(now);
        let was_silent = std::mem::take(&mut self.expiries) > 0;
        (self.expires_at, self.put_off_until) = (Some(now + self.timer()), None);
        was_silent || self.round_trip.timer() < timer_before / 2
    }

    /// It has given a sign of life that answers no question.
    pub(super) fn is_alive(&mut self, now: Instant) {
        (self.failures, self.refusals, self.last_response) = (0, 0, Some(now));
        (self.trials, self.trial_at) = (0, None);
    }

    /// It refuses an exchange that began at `since`.
    pub(super) fn refused(&mut self, since: Instant, now: Instant) {
        self.failed(since, now);
        self.refusals = if self.failures == 0 { 0 } else { self.refusals.saturating_add(1) };
    }

    /// It belongs to the tier and answered none of the checks that began at `since`.
    pub(super) fn is_dead(&mut self, since: Instant, now: Instant) {
        for _ in 0..FAILURES_IN_A_ROW {
            self.refused(since, now);
        }
    }

    /// It gave nothing to an exchange that began at `since`.
    pub(super) fn failed(&mut self, since: Instant, now: Instant) {
        if self.last_response.is_none_or(|response| response < since) {
            self.failures = self.failures.saturating_add(1);
            if self.is_ejected() && self.trial_at.is_none() {
                self.trial_at = Some(now + TRIALS[0]);
            }
        }
    }

    /// The timer has expired and a question is sent again, one for the whole pod: it doubles.
    pub(super) fn expired(&mut self, now: Instant) {
        self.expiries = self.expiries.saturating_add(1);
        let timer = self.timer();
        (self.expires_at, self.put_off_until) = (Some(now + timer), Some(now + timer * 2));
    }

    /// The time to wait for a response, which every expiry doubles.
    fn timer(&self) -> Duration {
        (self.round_trip.timer().min(LONGEST) * 2_u32.saturating_pow(self.expiries.min(8))).min(LONGEST)
    }

    /// The time that a question is given before it counts as late.
    pub(super) fn round_trip_timer(&self) -> Duration {
        self.round_trip.timer()
    }

    /// Whether it answers within a fraction of the time that clients wait.
    pub(super) fn is_quick(&self) -> bool {
        self.round_trip.timer() < NO_SAMPLE
    }

    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// Whether it has answered a question that was sent later than `sent_at`, or so little earlier that the order of
    /// arrival says nothing: then the question that was sent at `sent_at` should have been answered, too.
    pub(super) fn has_answered_later(&self, sent_at: Instant) -> bool {
        self.latest_answered.is_some_and(|answered| answered + REORDERING >= sent_at)
    }

    /// Whether it says itself that nobody is there.
    pub(super) fn is_gone(&self) -> bool {
        self.refusals >= FAILURES_IN_A_ROW
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.failures >= FAILURES_IN_A_ROW
    }

    /// Whether the ejected server is to be tried with this question; the next trial is later.
    pub(super) fn is_trial_due(&mut self, now: Instant) -> bool {
        let is_due = self.is_ejected() && self.trial_at.is_some_and(|at| now >= at);
        if is_due {
            self.trials = (self.trials + 1).min(8);
            self.trial_at = Some(now + (TRIALS[0] * 2_u32.pow(self.trials)).min(TRIALS[1]));
        }
        is_due
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            is_ejected: self.is_ejected(),
            failures: self.failures,
            round_trip: self.round_trip.smoothed(),
            last_response: self.last_response,
        }
    }
}
