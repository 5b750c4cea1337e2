//! One question to one server: with our EDNS, and once more without where that may be why it failed; by UDP as long as nobody
//! seems to guess.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::doubt::{Doubt, Stray};
use super::path::Path;
use super::question::{self, Question, Verdict};
use crate::metrics::{Metrics, Transport, Unwanted};
use crate::wire::{Rcode, Reading};

/// A question, and what is known of the path to the server.
#[derive(Debug)]
pub struct Asked<'a> {
    question: Question<'a>,
    path: &'a Mutex<Path>,
    metrics: &'a Metrics,
    with_edns: bool,
    is_again: bool,
    is_repeated: bool,
    /// Near misses by UDP.
    misses: u8,
}

/// What to do about a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Keep listening.
    Ignore,
    /// By UDP alone: do not, but ask over TCP.
    Doubt,
    /// By UDP alone: do not.
    Deaf,
    /// Send the question again: it has no EDNS now. The message is a failure, to be given when nothing better comes.
    SendAgain(Reading),
    /// It is the response.
    Take(Reading),
}

impl Reaction {
    /// What others get of the message, if it is not to be ignored, and whether the question is to be sent again first.
    pub fn response(self, message: impl FnOnce() -> Vec<u8>) -> Option<(bool, Vec<u8>)> {
        match self {
            Self::Ignore | Self::Doubt | Self::Deaf => None,
            Self::SendAgain(reading) => Some((true, question::whole(message(), &reading))),
            Self::Take(reading) => Some((false, question::whole(message(), &reading))),
        }
    }
}

impl<'a> Asked<'a> {
    /// The question as it is sent first; `is_repeated` when the server did not answer an earlier transmission. Whoever wants
    /// DNSSEC records speaks EDNS itself, and so its question carries it; so does one that others have marked, to show a loop.
    pub fn new(
        question: Question<'a>,
        path: &'a Mutex<Path>,
        metrics: &'a Metrics,
        is_repeated: bool,
    ) -> Self {
        let mut asked =
            Self { question, path, metrics, with_edns: true, is_again: false, is_repeated, misses: 0 };
        asked.with_edns = asked.question.dnssec_ok()
            || asked.question.is_passed_on()
            || asked.path().edns.is_sent(is_repeated, Instant::now().into_std());
        asked
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        self.question.bytes(self.with_edns)
    }

    /// The bytes to send with an id that was drawn elsewhere.
    pub fn bytes_with_id(&mut self, id: u16) -> Vec<u8> {
        self.question.renumber(id);
        self.bytes()
    }

    /// The id that it is sent with.
    pub fn id(&self) -> u16 {
        self.question.id()
    }

    /// Whether the server did not answer an earlier transmission.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Whether somebody has sent a near miss to its socket, and so knows the port.
    pub fn is_port_known(&self) -> bool {
        self.misses > 0
    }

    /// Judges a message from the server, and learns from it.
    pub fn receive(&mut self, bytes: &[u8], transport: Transport) -> Reaction {
        let reading = match self.question.judge(bytes) {
            Verdict::Believe(reading) => reading,
            Verdict::Ignore(stray) => return self.ignore(stray, transport),
        };
        let (rcode, now) = (reading.rcode, Instant::now().into_std());
        let is_echo = self.question.is_echo(bytes);
        if is_echo.is_some_and(|is_echo| !self.path().case.is_believed(is_echo, transport, now)) {
            return self.ignore(Stray { reason: Unwanted::Case, is_near_miss: true }, transport);
        }
        if matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN) {
            let mut path = self.path();
            path.edns.answered(self.with_edns, now);
            if transport == Transport::Udp {
                path.doubts.believed();
            }
            return Reaction::Take(reading);
        }
        // Who says more of an error knows EDNS: so does a proxy of our kind, which the question may have come back to.
        let wants_edns =
            rcode == Rcode::SERVFAIL && (self.question.dnssec_ok() || reading.has_extended_error);
        if self.with_edns && !wants_edns && self.path().edns.may_be_why(rcode, now) {
            (self.with_edns, self.is_again) = (false, true);
            return Reaction::SendAgain(reading);
        }
        self.failed();
        Reaction::Take(reading)
    }

    fn ignore(&mut self, stray: Stray, transport: Transport) -> Reaction {
        self.metrics.unwanted_reply(stray.reason);
        if !stray.is_near_miss || transport != Transport::Udp {
            return Reaction::Ignore;
        }
        self.misses = self.misses.saturating_add(1);
        let doubt = self.path().doubts.missed(self.misses);
        match doubt {
            Doubt::None => Reaction::Ignore,
            Doubt::Tcp => Reaction::Doubt,
            Doubt::Deaf => Reaction::Deaf,
        }
    }

    /// The question without EDNS, if it was sent so after a failure, was in vain.
    pub fn failed(&self) {
        if self.is_again {
            self.path().edns.failed_without(Instant::now().into_std());
        }
    }

    fn path(&self) -> MutexGuard<'_, Path> {
        // Plain numbers: a panic between two assignments does no harm.
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
