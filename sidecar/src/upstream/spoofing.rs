//! When UDP replies are not trusted, because an attacker may be forging them. Pure.
//!
//! An attacker who forges a UDP answer without seeing the query must guess, before the true answer arrives:
//!
//! | guess | bits |
//! |---|---|
//! | the port of the socket (28,232 by `net.ipv4.ip_local_port_range`): a new port, or one that queries share for a second | 14.8 |
//! | the id, a new one for each transmission | 16 |
//! | for the shared tier: the case of the letters of the name ([`CaseCheck`]) | one for each letter, 64 at most |
//!
//! That is 31 bits for cluster DNS, and 56 for the tier and `api.default.svc.cluster.local`. The attacker may
//! find out the port of a shared socket while it is used: with eight sockets 19 bits are left for cluster DNS
//! then, and 44 for the tier. So a shared socket is used for a second or 128 queries at most
//! ([`super::shared_sockets`]).
//!
//! A reply to the right port with the right question and another id is no accident. Late answers to earlier
//! transmissions have ids that were used on that socket, or go to sockets that are closed. A late answer to a
//! port that was reused answers another question.
//!
//! | UDP reply from the address of the server | kind | then |
//! |---|---|---|
//! | another id, this question | a near miss | the socket is closed, or takes no further queries if it is shared, and the query is sent over TCP; if that fails, over UDP from a new port when its timer expires |
//! | the same, after too many fallbacks to TCP | a near miss | it is counted; after [`MAX_NEAR_MISSES`] the socket is not read any more |
//! | this id, this question in another case, from a server that is known to repeat the case | a near miss | the same |
//! | another id, another question; this id, another question; no response at all | stray | it is counted |
//!
//! The number of fallbacks is limited: otherwise a server, or a middlebox, that sends a wrong reply beside
//! each answer would get a TCP connection for each query of every pod.

use std::time::{Duration, Instant};

use crate::metrics::{Transport, Unwanted};

/// Near misses on one socket after which it is not read any more.
const MAX_NEAR_MISSES: u8 = 64;

/// The price of one fallback to TCP, in accepted answers over UDP.
const ANSWERS_PER_FALLBACK: u16 = 8;

/// The initial and the largest savings of a server: 4 and 32 fallbacks.
const INITIAL_SAVINGS: u16 = 4 * ANSWERS_PER_FALLBACK;
const MAX_SAVINGS: u16 = 32 * ANSWERS_PER_FALLBACK;

/// The limit on fallbacks to TCP for one server.
#[derive(Debug)]
pub struct TcpFallbackBudget {
    saved: u16,
}

impl Default for TcpFallbackBudget {
    fn default() -> Self {
        Self { saved: INITIAL_SAVINGS }
    }
}

/// What to do after a near miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearMissAction {
    /// Keep listening on the socket.
    KeepListening,
    /// Close the socket and send the query over TCP.
    RetryOverTcp,
    /// Stop listening: there are no fallbacks left.
    StopListening,
}

impl TcpFallbackBudget {
    /// Records an accepted answer over UDP.
    pub fn record_accepted(&mut self) {
        self.saved = (self.saved + 1).min(MAX_SAVINGS);
    }

    /// Decides about a near miss: the one of that number on its socket.
    pub fn on_near_miss(&mut self, number: u8) -> NearMissAction {
        if let Some(left) = self.saved.checked_sub(ANSWERS_PER_FALLBACK) {
            self.saved = left;
            return NearMissAction::RetryOverTcp;
        }
        if number >= MAX_NEAR_MISSES { NearMissAction::StopListening } else { NearMissAction::KeepListening }
    }
}

/// Whether a server repeats the question letter by letter, so that an attacker has to guess the case of its
/// letters as well ("0x20", draft-vixie-dnsext-dns0x20).
///
/// Only queries to the shared tier have random case, because the tier is another PodLocal DNS proxy: it sends
/// names in lower case itself, and puts each client's case into its answer. CoreDNS repeats the case, too,
/// but passes it on. Its cache gives all clients the names of an answer in the case of the client that asked
/// first (`plugin/cache/item.go`). Its `kubernetes` plugin ends the targets of SRV records in that case of
/// the zone, and knows NS of the zone in lower case only (`plugin/kubernetes/handler.go`). Pods that do not
/// use PodLocal DNS would get names with random letters.
///
/// | state | the letters of a query | an answer in another case over UDP |
/// |---|---|---|
/// | unknown | random | is accepted; the server does not repeat the case: lower case for [`LOWER_CASE_FOR`] |
/// | [`ECHOES_REQUIRED`] answers in a row repeated the case | random | is a near miss; the state is unknown again, so the next one is accepted |
#[derive(Debug, Default)]
pub struct CaseCheck {
    echoes: u8,
    lower_case_until: Option<Instant>,
}

/// Answers in a row that repeated the case, after which all answers must.
const ECHOES_REQUIRED: u8 = 4;

/// How long a server is queried in lower case after it did not repeat the case.
const LOWER_CASE_FOR: Duration = Duration::from_mins(15);

impl CaseCheck {
    /// Whether a query gets random upper-case letters.
    pub fn should_randomize(&self, now: Instant) -> bool {
        self.lower_case_until.is_none_or(|until| now >= until)
    }

    /// Whether a response to a query with random letters is accepted.
    pub fn accepts(&mut self, is_echo: bool, transport: Transport, now: Instant) -> bool {
        if is_echo {
            self.echoes = (self.echoes + 1).min(ECHOES_REQUIRED);
            return true;
        }
        let must = std::mem::take(&mut self.echoes) == ECHOES_REQUIRED && transport == Transport::Udp;
        if !must {
            self.lower_case_until = Some(now + LOWER_CASE_FOR);
        }
        !must
    }
}

/// A reply that answers none of the sidecar's queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// Why it is not accepted.
    pub reason: Unwanted,
    /// Whether it would have answered the query with another guess of the id or of the letters.
    pub is_near_miss: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeated_the_case_four_times_must_repeat_it() {
        let (mut case, now) = (CaseCheck::default(), Instant::now());
        assert!((0..4).all(|_| case.accepts(true, Transport::Udp, now)));
        assert!(!case.accepts(false, Transport::Udp, now));
        assert!(case.should_randomize(now), "somebody guesses, or the server is another one");
        assert!(case.accepts(false, Transport::Udp, now), "so no lookup fails because of it");
        assert!(!case.should_randomize(now));
    }

    #[test]
    fn a_server_that_changes_the_case_gets_lower_case_for_15_minutes() {
        for transport in Transport::ALL {
            let (mut case, now) = (CaseCheck::default(), Instant::now());
            assert!(case.should_randomize(now) && case.accepts(false, transport, now));
            assert!(
                !case.should_randomize(now + LOWER_CASE_FOR / 2)
                    && case.should_randomize(now + LOWER_CASE_FOR)
            );
        }
    }

    #[test]
    fn a_tcp_answer_in_another_case_is_accepted() {
        let (mut case, now) = (CaseCheck::default(), Instant::now());
        (0..4).for_each(|_| assert!(case.accepts(true, Transport::Udp, now)));
        assert!(case.accepts(false, Transport::Tcp, now) && !case.should_randomize(now));
    }

    #[test]
    fn fallbacks_to_tcp_end_after_four_near_misses() {
        let mut tcp_fallbacks = TcpFallbackBudget::default();
        let first: Vec<_> = (0..4).map(|_| tcp_fallbacks.on_near_miss(1)).collect();
        assert_eq!(first, [NearMissAction::RetryOverTcp; 4]);
        for _ in 0..7 {
            assert_eq!(tcp_fallbacks.on_near_miss(1), NearMissAction::KeepListening);
            tcp_fallbacks.record_accepted();
        }
        assert_eq!(tcp_fallbacks.on_near_miss(1), NearMissAction::KeepListening);
        tcp_fallbacks.record_accepted();
        assert_eq!(tcp_fallbacks.on_near_miss(1), NearMissAction::RetryOverTcp, "one in eight");
    }

    #[test]
    fn a_reliable_server_may_have_32_fallbacks_to_tcp() {
        let mut tcp_fallbacks = TcpFallbackBudget::default();
        (0..1_000_000).for_each(|_| tcp_fallbacks.record_accepted());
        assert_eq!(
            (0..100).filter(|_| tcp_fallbacks.on_near_miss(1) == NearMissAction::RetryOverTcp).count(),
            32
        );
    }
}
