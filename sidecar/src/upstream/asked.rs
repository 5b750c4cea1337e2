//! One question to one server: with our EDNS, and once more without where that may be why it failed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::path::Edns;
use super::question::{self, Question, Verdict};
use crate::wire::{Rcode, Reading};

/// A question, and what is known of the server's EDNS.
#[derive(Debug)]
pub struct Asked<'a> {
    question: Question<'a>,
    edns: &'a Mutex<Edns>,
    with_edns: bool,
    is_again: bool,
}

/// What to do about a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Keep listening.
    Ignore,
    /// Send the question again: it has no EDNS now. The message is a failure, to be given when nothing better comes.
    SendAgain(Reading),
    /// It is the response.
    Take(Reading),
}

impl Reaction {
    /// What others get of the message, if it is not to be ignored, and whether the question is to be sent again first.
    pub fn response(self, message: impl FnOnce() -> Vec<u8>) -> Option<(bool, Vec<u8>)> {
        match self {
            Self::Ignore => None,
            Self::SendAgain(reading) => Some((true, question::whole(message(), &reading))),
            Self::Take(reading) => Some((false, question::whole(message(), &reading))),
        }
    }
}

impl<'a> Asked<'a> {
    /// The question as it is sent first; `is_repeated` when the server did not answer an earlier transmission. Whoever wants
    /// DNSSEC records speaks EDNS itself, and so its question carries it; so does one that others have marked, to show a loop.
    pub fn new(question: Question<'a>, edns: &'a Mutex<Edns>, is_repeated: bool) -> Self {
        let mut asked = Self { question, edns, with_edns: true, is_again: false };
        asked.with_edns = asked.question.dnssec_ok()
            || asked.question.is_passed_on()
            || asked.edns().is_sent(is_repeated, Instant::now().into_std());
        asked
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        self.question.bytes(self.with_edns)
    }

    /// Judges a message from the server, and learns from it.
    pub fn receive(&mut self, bytes: &[u8]) -> Reaction {
        let Verdict::Believe(reading) = self.question.judge(bytes) else { return Reaction::Ignore };
        let (rcode, now) = (reading.rcode, Instant::now().into_std());
        if matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN) {
            self.edns().answered(self.with_edns, now);
            return Reaction::Take(reading);
        }
        // Who says more of an error knows EDNS: so does a proxy of our kind, which the question may have come back to.
        let wants_edns =
            rcode == Rcode::SERVFAIL && (self.question.dnssec_ok() || reading.has_extended_error);
        if self.with_edns && !wants_edns && self.edns().may_be_why(rcode, now) {
            (self.with_edns, self.is_again) = (false, true);
            return Reaction::SendAgain(reading);
        }
        self.failed();
        Reaction::Take(reading)
    }

    /// The question without EDNS, if it was sent so after a failure, was in vain.
    pub fn failed(&self) {
        if self.is_again {
            self.edns().failed_without(Instant::now().into_std());
        }
    }

    fn edns(&self) -> MutexGuard<'_, Edns> {
        // Plain numbers: a panic between two assignments does no harm.
        self.edns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
