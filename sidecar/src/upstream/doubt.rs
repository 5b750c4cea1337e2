//! When replies by UDP are not believed any more, because somebody seems to guess. Pure.
//!
//! Who forges an answer by UDP without seeing the question must hit, before the true answer is there:
//!
//! | | bits |
//! |---|---|
//! | the port of the socket (28,232 by `net.ipv4.ip_local_port_range`): a new one, or one that questions share for a second | 14.8 |
//! | the id, a new one for each transmission | 16 |
//! | of the shared tier: the case of the name's letters ([`Case`]) | one for each letter, 64 at most |
//!
//! That is 31 bits for cluster DNS, and 56 for the tier and `api.default.svc.cluster.local`. Of a socket that is shared the port may be
//! found out while it is used: of eight sockets 19 bits are left for cluster DNS then, and 44 for the tier. So it is used for a second or
//! 128 questions at most ([`super::channels`]).
//!
//! A reply that hits the port, answers the question, and has another id is no accident: answers to earlier transmissions have ids that
//! were given on that socket, or go to sockets that are gone, and one that went to a port that was given away anew answers another
//! question.
//!
//! | what came by UDP from the address of the server | is | then |
//! |---|---|---|
//! | another id, this question | a near miss | the socket is closed, or takes no further questions if it is shared, and the question asked over TCP; if that brings nothing, by UDP from a new port when its timer expires |
//! | the same while too many questions have gone over to TCP | a near miss | counted; after [`MOST_MISSES`] nobody listens there any more |
//! | this id, this question in another case, from a server that is known to keep it | a near miss | the same |
//! | another id, another question; this id, another question; what is no response | stray | counted |
//!
//! Not every question of a server may go over to TCP: one that sends something wrong beside each answer, or a middlebox that does,
//! would otherwise get a connection for each question of every pod.

use std::time::{Duration, Instant};

use crate::metrics::{Transport, Unwanted};

/// Near misses on one socket after which it is not listened to.
const MOST_MISSES: u8 = 64;

/// What one question over TCP costs, in answers by UDP that were believed at once.
const PRICE: u16 = 8;

/// What a server has to begin with, and may save: 4 and 32 questions.
const FIRST: u16 = 4 * PRICE;
const MOST: u16 = 32 * PRICE;

/// How many questions of one server may still go over to TCP.
#[derive(Debug)]
pub struct Doubts {
    saved: u16,
}

impl Default for Doubts {
    fn default() -> Self {
        Self { saved: FIRST }
    }
}

/// What to do about a reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Listen further.
    None,
    /// Ask over TCP.
    Tcp,
    /// Listen no further.
    Deaf,
}

impl Doubts {
    /// An answer by UDP was believed.
    pub fn believed(&mut self) {
        self.saved = (self.saved + 1).min(MOST);
    }

    /// A near miss: the one of that number on its socket.
    pub fn missed(&mut self, number: u8) -> Doubt {
        if let Some(left) = self.saved.checked_sub(PRICE) {
            self.saved = left;
            return Doubt::Tcp;
        }
        if number >= MOST_MISSES { Doubt::Deaf } else { Doubt::None }
    }
}

/// Whether a server gives a question back letter by letter as it came, so that the case of its letters has to be guessed as well
/// ("0x20", draft-vixie-dnsext-dns0x20).
///
/// Only the shared tier is asked so, which is a proxy of our kind: it asks for names in lower case itself, and puts each client's
/// spelling into its answer. CoreDNS keeps the case, too, but hands it on: its cache gives everybody the names of an answer in
/// the spelling of who asked first (`plugin/cache/item.go`), its `kubernetes` plugin ends the targets of SRV records in that
/// spelling of the zone and does not know NS of the zone in another than lower case (`plugin/kubernetes/handler.go`). Pods that
/// have nothing to do with us would get names of random letters.
///
/// | what is known | a question is spelled | an answer in another case by UDP |
/// |---|---|---|
/// | nothing | at random | is believed; the server does not keep the case: lower case for [`FOLDS_FOR`] |
/// | [`ECHOES`] answers in a row kept it | at random | is a near miss; nothing is known any more, so the next one is believed |
#[derive(Debug, Default)]
pub struct Case {
    echoes: u8,
    folds_until: Option<Instant>,
}

/// Answers in a row that kept the case, from which on all must.
const ECHOES: u8 = 4;

/// How long a server is asked in lower case that did not keep another.
const FOLDS_FOR: Duration = Duration::from_mins(15);

impl Case {
    /// Whether a question is spelled at random.
    pub fn is_random(&self, now: Instant) -> bool {
        self.folds_until.is_none_or(|until| now >= until)
    }

    /// Whether a response to a question that was spelled at random is believed.
    pub fn is_believed(&mut self, is_echo: bool, transport: Transport, now: Instant) -> bool {
        if is_echo {
            self.echoes = (self.echoes + 1).min(ECHOES);
            return true;
        }
        let must = std::mem::take(&mut self.echoes) == ECHOES && transport == Transport::Udp;
        if !must {
            self.folds_until = Some(now + FOLDS_FOR);
        }
        !must
    }
}

/// A reply that answers no question of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// What is wrong with it.
    pub reason: Unwanted,
    /// Whether it would have answered the question, had it been guessed better.
    pub is_near_miss: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_kept_the_case_four_times_must_keep_it() {
        let (mut case, now) = (Case::default(), Instant::now());
        assert!((0..4).all(|_| case.is_believed(true, Transport::Udp, now)));
        assert!(!case.is_believed(false, Transport::Udp, now));
        assert!(case.is_random(now), "somebody guesses, or the server is another one now");
        assert!(case.is_believed(false, Transport::Udp, now), "so no look-up fails for want of it");
        assert!(!case.is_random(now));
    }

    #[test]
    fn a_server_that_does_not_keep_the_case_is_asked_in_lower_case_for_a_quarter_of_an_hour() {
        for transport in Transport::ALL {
            let (mut case, now) = (Case::default(), Instant::now());
            assert!(case.is_random(now) && case.is_believed(false, transport, now));
            assert!(!case.is_random(now + FOLDS_FOR / 2) && case.is_random(now + FOLDS_FOR));
        }
    }

    #[test]
    fn what_comes_over_tcp_in_another_case_is_believed() {
        let (mut case, now) = (Case::default(), Instant::now());
        (0..4).for_each(|_| assert!(case.is_believed(true, Transport::Udp, now)));
        assert!(case.is_believed(false, Transport::Tcp, now) && !case.is_random(now));
    }

    #[test]
    fn a_near_miss_sends_the_question_over_tcp() {
        assert_eq!(Doubts::default().missed(1), Doubt::Tcp);
    }

    #[test]
    fn a_server_that_always_sends_something_wrong_is_asked_over_tcp_four_times_and_then_by_udp() {
        let mut doubts = Doubts::default();
        let first: Vec<_> = (0..4).map(|_| doubts.missed(1)).collect();
        assert_eq!(first, [Doubt::Tcp; 4]);
        for _ in 0..7 {
            assert_eq!(doubts.missed(1), Doubt::None);
            doubts.believed();
        }
        assert_eq!(doubts.missed(1), Doubt::None);
        doubts.believed();
        assert_eq!(doubts.missed(1), Doubt::Tcp, "one in eight");
    }

    #[test]
    fn a_socket_that_is_flooded_is_not_listened_to_for_ever() {
        let mut doubts = Doubts { saved: 0 };
        let number = (1..=u8::MAX).find(|number| doubts.missed(*number) == Doubt::Deaf);
        assert_eq!(number, Some(64));
    }

    #[test]
    fn a_server_that_answered_a_million_questions_may_be_doubted_32_times() {
        let mut doubts = Doubts::default();
        (0..1_000_000).for_each(|_| doubts.believed());
        assert_eq!((0..100).filter(|_| doubts.missed(1) == Doubt::Tcp).count(), 32);
    }
}
