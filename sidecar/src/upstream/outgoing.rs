//! One query to one server: with the sidecar's EDNS, and again without it if EDNS may be the cause of a
//! failure; over UDP as long as replies can be trusted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use podlocal_dns::wire::{Flags, Message, Rcode, Reading};
use tokio::time::Instant;

use super::path::NetworkPath;
use super::query_message::{self, QueryMessage, ResponseVerdict, Variant};
use super::spoofing::{NearMissAction, Stray};
use crate::metrics::{Metrics, Transport, Unwanted};

/// A query, and the state of the path to the server.
#[derive(Debug)]
pub struct OutgoingQuery<'a> {
    question: QueryMessage<'a>,
    path: &'a Mutex<NetworkPath>,
    metrics: &'a Metrics,
    with_edns: bool,
    is_edns_fallback: bool,
    is_repeated: bool,
    /// Near misses on the UDP socket of the query.
    near_misses: u8,
}

/// What to do about a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Ignore the message and keep listening.
    Ignore,
    /// Over UDP only: stop listening, and send the query over TCP.
    RetryOverTcp,
    /// Over UDP only: stop listening.
    StopListening,
    /// Resend the query, which has no EDNS now. The message is a failure, to be returned when nothing better
    /// arrives.
    ResendWithoutEdns(Reading),
    /// The message is the response.
    Accept(Reading),
}

impl Reaction {
    /// The response for the caller, unless the message is ignored, and whether to resend the query first.
    pub fn response(self, message: impl FnOnce() -> Vec<u8>) -> Option<(bool, Vec<u8>)> {
        match self {
            Self::Ignore | Self::RetryOverTcp | Self::StopListening => None,
            Self::ResendWithoutEdns(reading) => Some((true, query_message::without_opt(message(), &reading))),
            Self::Accept(reading) => Some((false, query_message::without_opt(message(), &reading))),
        }
    }
}

impl<'a> OutgoingQuery<'a> {
    /// The query of the first transmission; `is_repeated` when the server did not answer an earlier one. The
    /// query of a client that asks for DNSSEC records always carries EDNS, because that client uses EDNS
    /// itself; so does a query with markers of other proxies, to show a loop.
    pub fn new(
        question: QueryMessage<'a>,
        path: &'a Mutex<NetworkPath>,
        metrics: &'a Metrics,
        is_repeated: bool,
        now: Instant,
    ) -> Self {
        let mut query = Self {
            question,
            path,
            metrics,
            with_edns: true,
            is_edns_fallback: false,
            is_repeated,
            near_misses: 0,
        };
        query.with_edns = query.question.dnssec_ok()
            || query.question.has_forwarded_markers()
            || query.path().edns.should_send(is_repeated, now.into_std());
        query
    }

    /// The query that was sent over UDP for the first time, with or without EDNS, to receive its answer.
    pub fn sent(
        question: QueryMessage<'a>,
        path: &'a Mutex<NetworkPath>,
        metrics: &'a Metrics,
        with_edns: bool,
    ) -> Self {
        let (is_edns_fallback, is_repeated, near_misses) = (false, false, 0);
        Self { question, path, metrics, with_edns, is_edns_fallback, is_repeated, near_misses }
    }

    /// The parts from which the same query is made again ([`OutgoingQuery::sent`]).
    pub fn into_variant(self) -> (Variant, bool) {
        (self.question.into_variant(), self.with_edns)
    }

    /// The question, on the wire and in lower case.
    pub fn question(&self) -> &'a [u8] {
        self.question.question()
    }

    /// The bytes of the message.
    pub fn bytes(&self) -> Vec<u8> {
        self.question.bytes(self.with_edns)
    }

    /// Writes the bytes of the message with that id, which it has from now on.
    pub fn write_with_id(&mut self, id: u16, out: &mut Vec<u8>) {
        self.question.set_id(id);
        self.question.write(self.with_edns, out);
    }

    /// Whether the server did not answer an earlier transmission.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Whether a near miss has arrived on its socket, so that an attacker may know the port.
    pub fn is_port_known(&self) -> bool {
        self.near_misses > 0
    }

    /// Checks a message from the server, and learns from it.
    pub fn receive(&mut self, bytes: &[u8], transport: Transport) -> Reaction {
        let reading = match self.question.check_response(bytes) {
            ResponseVerdict::Accept(reading) => reading,
            ResponseVerdict::Ignore(stray) => return self.ignore(stray, transport),
        };
        let (rcode, now) = (reading.rcode, Instant::now().into_std());
        let is_echo = self.question.echoes_case(bytes);
        if is_echo.is_some_and(|is_echo| !self.path().case.accepts(is_echo, transport, now)) {
            return self.ignore(Stray { reason: Unwanted::Case, is_near_miss: true }, transport);
        }
        if is_answer(rcode) {
            self.record_answer(transport, now);
            return Reaction::Accept(reading);
        }
        // A server that sends an Extended DNS Error supports EDNS. So does another PodLocal DNS proxy, to
        // which the query may have come back in a loop.
        let wants_edns =
            rcode == Rcode::SERVFAIL && (self.question.dnssec_ok() || reading.has_extended_error);
        if self.with_edns && !wants_edns && self.path().edns.may_be_cause(rcode, now) {
            (self.with_edns, self.is_edns_fallback) = (false, true);
            return Reaction::ResendWithoutEdns(reading);
        }
        self.record_fallback_failure();
        Reaction::Accept(reading)
    }

    /// What to do about a message over UDP that would answer the query, but for a wrong id.
    pub fn near_miss(&mut self) -> Reaction {
        self.ignore(Stray { reason: Unwanted::Id, is_near_miss: true }, Transport::Udp)
    }

    /// Checks a message that has arrived over UDP, and learns from it if it is a good answer: NOERROR or
    /// NXDOMAIN, whole, and to the question as it was sent. Otherwise nothing is recorded, and
    /// [`OutgoingQuery::receive`] has to check the message.
    pub fn receive_good_answer(&self, bytes: &[u8], now: Instant) -> Option<Reading> {
        let ResponseVerdict::Accept(reading) = self.question.check_response(bytes) else { return None };
        let is_whole = Message::new(bytes).is_some_and(|message| !message.flags().has(Flags::TC));
        let is_echo = self.question.echoes_case(bytes);
        if !is_whole || !is_answer(reading.rcode) || is_echo == Some(false) {
            return None;
        }
        let now = now.into_std();
        if is_echo.is_some() && !self.path().case.accepts(true, Transport::Udp, now) {
            return None;
        }
        self.record_answer(Transport::Udp, now);
        Some(reading)
    }

    fn record_answer(&self, transport: Transport, now: std::time::Instant) {
        let mut path = self.path();
        path.edns.record_answer(self.with_edns, now);
        if transport == Transport::Udp {
            path.tcp_fallbacks.record_accepted();
        }
    }

    fn ignore(&mut self, stray: Stray, transport: Transport) -> Reaction {
        self.metrics.unwanted_replies.inc(stray.reason);
        if !stray.is_near_miss || transport != Transport::Udp {
            return Reaction::Ignore;
        }
        self.near_misses = self.near_misses.saturating_add(1);
        let action = self.path().tcp_fallbacks.on_near_miss(self.near_misses);
        match action {
            NearMissAction::KeepListening => Reaction::Ignore,
            NearMissAction::RetryOverTcp => Reaction::RetryOverTcp,
            NearMissAction::StopListening => Reaction::StopListening,
        }
    }

    /// Records that the query without EDNS, if it was resent after a failure, failed as well.
    pub fn record_fallback_failure(&self) {
        if self.is_edns_fallback {
            self.path().edns.record_failure_without(Instant::now().into_std());
        }
    }

    fn path(&self) -> MutexGuard<'_, NetworkPath> {
        // Plain numbers: a panic between two assignments does no harm.
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_answer(rcode: Rcode) -> bool {
    matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN)
}
