//! What the path to a server lets through, learnt from what happens to questions: EDNS, and TCP. Pure: the time is passed in.
//!
//! Questions carry EDNS, of which the pod's own resolver may know nothing. Some old servers reject it, and some firewalls
//! drop it; what such a server says without it must reach the client.
//!
//! | to a question with EDNS | what is known of the server | then |
//! |---|---|---|
//! | NOERROR, NXDOMAIN | anything | it takes EDNS, for a minute |
//! | FORMERR, NOTIMP, BADVERS | anything | the question is sent again without, immediately |
//! | SERVFAIL | nothing | the same, unless it says more of the error (RFC 8914), or that has been in vain lately |
//! | SERVFAIL | it takes EDNS | it is a failure |
//! | silence | nothing | what is sent again anyway is sent without; nothing is sent more often |
//! | silence | it takes EDNS | what is sent again is sent with it |
//!
//! An answer to a question without EDNS is a sign that it is rejected. Two in a row, with none to a question with EDNS
//! between them, and no question carries it for a quarter of an hour.

use std::time::{Duration, Instant};

use super::doubt::{Case, Doubts};
use crate::wire::Rcode;

/// How long a server takes EDNS for granted after an answer: a path may change.
const TAKEN_FOR: Duration = Duration::from_mins(1);

/// How long it is not tried again.
const REJECTED_FOR: Duration = Duration::from_mins(15);

/// One may be a lost datagram, or a failure that was over a moment later.
const SIGNS: u8 = 2;

/// How long a SERVFAIL is taken for one after asking without EDNS was in vain; each time in a row doubles it.
const IN_VAIN_FOR: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(32)];

/// What is known of the path to one server.
#[derive(Debug, Default)]
pub struct Path {
    /// Whether it lets EDNS through.
    pub edns: Edns,
    /// Whether its replies are doubted.
    pub doubts: Doubts,
    /// Whether it keeps the case of questions.
    pub case: Case,
}

/// Whether a server takes questions with EDNS.
#[derive(Debug, Default)]
pub struct Edns {
    taken_until: Option<Instant>,
    rejected_until: Option<Instant>,
    /// Answers to questions without it, since the last one with it.
    signs: u8,
    /// Until when SERVFAIL has nothing to do with it, and how often in a row that was so.
    in_vain_until: Option<Instant>,
    times_in_vain: u32,
}

impl Edns {
    /// Whether a question carries it that is sent for the first time, or again (`is_repeated`) because the server is silent.
    pub fn is_sent(&self, is_repeated: bool, now: Instant) -> bool {
        let is_rejected = self.rejected_until.is_some_and(|until| now < until);
        !is_rejected && (!is_repeated || self.is_taken(now))
    }

    /// Whether a question with it that failed is to be sent again without.
    pub fn may_be_why(&self, rcode: Rcode, now: Instant) -> bool {
        match rcode {
            Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS => true,
            Rcode::SERVFAIL => !self.is_taken(now) && self.in_vain_until.is_none_or(|until| now >= until),
            _ => false,
        }
    }

    /// The server has given NOERROR or NXDOMAIN to a question with it or without.
    pub fn answered(&mut self, with_edns: bool, now: Instant) {
        (self.in_vain_until, self.times_in_vain) = (None, 0);
        if with_edns {
            (self.taken_until, self.rejected_until, self.signs) = (Some(now + TAKEN_FOR), None, 0);
            return;
        }
        self.signs = (self.signs + 1).min(SIGNS);
        if self.signs == SIGNS && self.is_sent(false, now) {
            self.rejected_until = Some(now + REJECTED_FOR);
        }
    }

    /// The question that was sent again without it failed as well.
    pub fn failed_without(&mut self, now: Instant) {
        let [first, longest] = IN_VAIN_FOR;
        let pause = (first * 2_u32.pow(self.times_in_vain.min(8))).min(longest);
        self.in_vain_until = Some(now + pause);
        self.times_in_vain = self.times_in_vain.saturating_add(1);
    }

    fn is_taken(&self, now: Instant) -> bool {
        self.taken_until.is_some_and(|until| now < until)
    }
}

/// How long no connection is tried for a truncated answer after two in a row brought nothing; each one more doubles it.
const TCP_FAILED_FOR: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(64)];

/// Whether TCP brings what UDP truncates.
///
/// | connections for truncated answers | the next truncated answer |
/// |---|---|
/// | brought the whole one, or there was none yet | is fetched over TCP, and waited for |
/// | one brought nothing | the same: the server may have been slow |
/// | two in a row and more brought nothing | is given as it is for 8, 16, 32, 64 s; then one connection is tried again |
#[derive(Debug, Default, Clone)]
pub struct Tcp {
    failures: u32,
    failed_until: Option<Instant>,
}

impl Tcp {
    /// Whether a truncated answer is fetched over TCP now. The one question after a pause begins the next pause, so that those
    /// beside it do not wait as well.
    pub fn is_tried(&mut self, now: Instant) -> bool {
        let is_tried = self.failed_until.is_none_or(|until| now >= until);
        if is_tried && self.failed_until.is_some() {
            let [first, _] = TCP_FAILED_FOR;
            self.failed_until = Some(now + first);
        }
        is_tried
    }

    /// A connection brought nothing for a truncated answer.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(2) {
            let [first, longest] = TCP_FAILED_FOR;
            self.failed_until = Some(now + (first * 2_u32.pow(more.min(8))).min(longest));
        }
    }

    /// A connection brought an answer.
    pub fn answered(&mut self) {
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
    fn what_is_sent_again_to_an_unknown_server_has_no_edns() {
        let (mut edns, now) = (Edns::default(), Instant::now());
        assert_eq!([false, true].map(|again| edns.is_sent(again, now)), [true, false]);
        edns.answered(true, now);
        assert_eq!([false, true].map(|again| edns.is_sent(again, after(now, 59))), [true, true]);
        assert_eq!([false, true].map(|again| edns.is_sent(again, after(now, 60))), [true, false]);
    }

    #[test]
    fn two_answers_without_edns_in_a_row_end_it_for_a_quarter_of_an_hour() {
        let (mut edns, now) = (Edns::default(), Instant::now());
        edns.answered(false, now);
        assert!(edns.is_sent(false, now), "one may be a lost datagram");
        edns.answered(true, now);
        edns.answered(false, now);
        assert!(edns.is_sent(false, now), "not in a row");
        edns.answered(false, now);
        assert!(!edns.is_sent(false, after(now, 899)));
        edns.answered(false, after(now, 899));
        assert!(edns.is_sent(false, after(now, 900)), "tried again, however much is asked meanwhile");
        edns.answered(false, after(now, 901));
        assert!(!edns.is_sent(false, after(now, 902)), "one sign confirms what was known");
    }

    #[test]
    fn a_failure_may_be_about_edns_as_long_as_the_server_takes_none() {
        let (mut edns, now) = (Edns::default(), Instant::now());
        let rcodes = [Rcode::FORMERR, Rcode::NOTIMP, Rcode::BADVERS, Rcode::SERVFAIL, Rcode::REFUSED];
        let may_be = |edns: &Edns, now| rcodes.map(|rcode| edns.may_be_why(rcode, now));
        assert_eq!(may_be(&edns, now), [true, true, true, true, false]);
        edns.answered(true, now);
        assert_eq!(may_be(&edns, now), [true, true, true, false, false]);
    }

    #[test]
    fn a_server_that_fails_either_way_is_soon_asked_once() {
        let (mut edns, start) = (Edns::default(), Instant::now());
        let asked = |edns: &mut Edns, second| {
            let now = after(start, second);
            let is_asked = edns.may_be_why(Rcode::SERVFAIL, now);
            if is_asked {
                edns.failed_without(now);
            }
            is_asked
        };
        let twice = (0..100).filter(|second| asked(&mut edns, *second)).count();
        assert_eq!(twice, 8, "after 0, 1, 3, 7, 15, 31, 63, 95 s");
        edns.answered(false, after(start, 100));
        assert!(edns.may_be_why(Rcode::SERVFAIL, after(start, 100)), "an answer without is news");
    }

    #[test]
    fn tcp_that_failed_twice_is_tried_again_after_a_pause() {
        let (mut tcp, now) = (Tcp::default(), Instant::now());
        tcp.failed(now);
        assert!(tcp.is_tried(now), "once says little");
        tcp.failed(now);
        assert!(!tcp.is_tried(after(now, 7)));
        assert!(tcp.is_tried(after(now, 8)));
        assert!(!tcp.is_tried(after(now, 8)), "one at a time");
        tcp.failed(after(now, 9));
        assert!(!tcp.is_tried(after(now, 24)));
        assert!(tcp.is_tried(after(now, 25)));
        tcp.answered();
        assert!(tcp.is_tried(after(now, 25)) && tcp.is_tried(after(now, 25)));
    }
}
