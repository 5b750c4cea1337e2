//! An answer as it is kept: the upstream's own bytes, with the places of their TTLs.
//!
//! A hit copies the bytes and patches them; nothing is decoded. A miss is answered by the same writer, so the
//! first answer looks like the later ones.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use super::lifetime::{Lifetime, Limits};
use crate::query::Client;
use crate::reply::PAYLOAD_SIZE;
use crate::wire::{
    self, EXTENDED_ERROR_LENGTH, Flags, HEADER_LENGTH, Malformed, Message, OPT_LENGTH, Rcode, Section,
    TYPE_OPT,
};

/// One answer, without its OPT record (RFC 6891 section 6.1.1: never cached, never forwarded). Cheap to clone: all clones
/// are the same answer, in one block of memory.
///
/// The bytes are the message, with the upstream's flags and counts that fit what is left of it; behind it the places of
/// its TTLs, two bytes each. Whoever reads records goes by the counts, and does not come that far.
#[derive(Debug, Clone)]
pub struct Entry(ThinArc<Facts, u8>);

/// What is known of an answer beside its bytes.
#[derive(Debug)]
struct Facts {
    message_length: u16,
    question_length: u16,
    stored: Instant,
    lifetime: Lifetime,
    /// How often it was given, up to [`POPULAR`].
    given: AtomicU8,
    /// Whether somebody is asking for it anew, ahead of its end.
    refreshing: AtomicBool,
    /// Whether it was given after its end, because the upstream was too slow.
    was_given_stale: AtomicBool,
}

/// From how many hits on an answer is popular, and refreshed before it expires.
const POPULAR: u8 = 2;

/// The TTL of an answer after its end (RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914 sections 4.4 and 4.20).
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN_ANSWER: u16 = 19;

impl Entry {
    /// Makes an entry of a response to the question of that length, with the TTLs that the limits allow.
    ///
    /// An RCODE of more than four bits becomes SERVFAIL: BADVERS and BADCOOKIE are about our own EDNS, and their
    /// lower bits alone would say NOERROR and YXRRSET (RFC 6891 section 6.1.3).
    ///
    /// Records behind the OPT record, which should be last, are dropped with it: they are additional ones,
    /// and moving them would break the compression pointers among them.
    pub fn new(
        response: &[u8],
        question_length: usize,
        lifetime: Lifetime,
        limits: &Limits,
        now: Instant,
    ) -> Result<Self, Malformed> {
        let message = Message::new(response).ok_or(Malformed)?;
        let mut counts = [0; 3];
        let mut places = Vec::new();
        let mut bytes = Vec::with_capacity(response.len());
        let mut end = HEADER_LENGTH + question_length;
        bytes.extend_from_slice(response);
        for record in message.records(question_length) {
            let record = record?;
            if record.kind == TYPE_OPT {
                if record.ttl >> 24 != 0 {
                    wire::put_rcode(&mut bytes, Rcode::SERVFAIL);
                }
                break;
            }
            counts[record.section as usize] += 1;
            places.extend(u16::try_from(record.ttl_at).map_err(|_| Malformed)?.to_ne_bytes());
            wire::put_ttl(
                &mut bytes,
                record.ttl_at,
                lifetime.record_ttl(record.ttl, record.section == Section::Answer, limits),
            );
            end = record.end;
        }
        bytes.truncate(end);
        wire::put_counts(&mut bytes, 1, counts);
        let facts = Facts {
            message_length: u16::try_from(bytes.len()).map_err(|_| Malformed)?,
            question_length: question_length as u16,
            stored: now,
            lifetime,
            given: AtomicU8::new(0),
            refreshing: AtomicBool::new(false),
            was_given_stale: AtomicBool::new(false),
        };
        bytes.append(&mut places);
        Ok(Self(ThinArc::from_header_and_slice(facts, &bytes)))
    }

    /// Whether it may still be given as an answer.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.seconds()
    }

    /// Whether it may be given although its life is over: while the upstream fails, for `most` longer (RFC 8767).
    pub fn is_usable_stale(&self, now: Instant, most: Duration) -> bool {
        let end = Duration::from_secs(self.seconds().into());
        self.seconds() > 0
            && !most.is_zero()
            && now.saturating_duration_since(self.facts().stored) < end + most
    }

    /// Counts a hit; `true` for the one hit that shall ask anew: a popular answer in the last tenth of its life.
    pub fn wants_refresh(&self, now: Instant) -> bool {
        let given = self.facts().given.load(Ordering::Relaxed);
        if given < POPULAR {
            self.facts().given.store(given + 1, Ordering::Relaxed);
            return false;
        }
        let Lifetime::Positive(seconds) = self.facts().lifetime else { return false };
        let life = Duration::from_secs(seconds.into());
        now.saturating_duration_since(self.facts().stored) >= life * 9 / 10
            && !self.facts().refreshing.swap(true, Ordering::Relaxed)
    }

    /// Notes that it was given after its end, because the answer under way is slow: who comes next and would wait for
    /// the same one need not.
    pub fn note_given_stale(&self) {
        self.facts().was_given_stale.store(true, Ordering::Relaxed);
    }

    /// Whether it was given after its end.
    pub fn was_given_stale(&self) -> bool {
        self.facts().was_given_stale.load(Ordering::Relaxed)
    }

    /// Whether there is no such name, for every type: the end of an alias has its own types.
    pub fn is_missing_name(&self) -> bool {
        let message = Message::new(self.bytes());
        message.is_some_and(|message| {
            let [answers, ..] = message.record_counts();
            message.flags().rcode() == Rcode::NXDOMAIN && answers == 0
        })
    }

    /// Whether the name, or the end of its alias, is missing.
    pub fn is_nxdomain(&self) -> bool {
        Message::new(self.bytes()).is_some_and(|message| message.flags().rcode() == Rcode::NXDOMAIN)
    }

    /// Whether it holds something.
    pub fn is_positive(&self) -> bool {
        matches!(self.facts().lifetime, Lifetime::Positive(_))
    }

    /// The same answer; a negative one lives at most that long.
    #[must_use]
    pub fn shortened(self, most: u32) -> Self {
        let Facts { message_length, question_length, stored, lifetime: Lifetime::Negative(seconds), .. } =
            *self.facts()
        else {
            return self;
        };
        let facts = Facts {
            message_length,
            question_length,
            stored,
            lifetime: Lifetime::Negative(seconds.min(most)),
            given: AtomicU8::new(0),
            refreshing: AtomicBool::new(false),
            was_given_stale: AtomicBool::new(false),
        };
        let mut bytes = self.bytes().to_vec();
        let (message, places) = bytes.split_at_mut(message_length.into());
        wire::cap_ttls(message, numbers(places), most);
        Self(ThinArc::from_header_and_slice(facts, &bytes))
    }

    /// How long it may still be given as fresh.
    pub fn remaining(&self, now: Instant) -> Duration {
        Duration::from_secs(self.seconds().into())
            .saturating_sub(now.saturating_duration_since(self.facts().stored))
    }

    /// The whole message with TTLs as they are now, to be decoded.
    pub fn aged(&self, now: Instant) -> Vec<u8> {
        let (message, ttls) = self.parts();
        let mut bytes = message.to_vec();
        wire::age(&mut bytes, ttls, self.age(now));
        bytes
    }

    /// How long it may be kept, in whole seconds; 0: not at all.
    pub fn seconds(&self) -> u32 {
        self.facts().lifetime.seconds()
    }

    /// The memory it takes, in bytes.
    pub fn size(&self) -> usize {
        BLOCK_HEADER + size_of::<Facts>() + self.bytes().len()
    }

    /// Writes it as the answer to a client's query, in at most `limit` bytes: the client's id, its RD and CD bits, its
    /// spelling of the name, TTLs as they are now, EDNS when the client speaks it. What does not fit is left
    /// out, record by record, and TC says so (RFC 2181 section 9). Allocates only when `out` must grow.
    pub fn write<'a>(&self, client: impl Into<Client<'a>>, now: Instant, limit: usize, out: &mut Vec<u8>) {
        let client = client.into();
        out.clear();
        let (message, ttls) = self.parts();
        out.extend_from_slice(message);
        wire::age(out, ttls, self.age(now));
        let opt_length = if client.edns.is_some() { OPT_LENGTH } else { 0 };
        self.finish(&client, limit, opt_length, out);
        if let Some(edns) = client.edns {
            wire::push_opt(out, PAYLOAD_SIZE, 0, edns.dnssec_ok);
        }
    }

    /// The same after the end of its life: the TTLs are [`STALE_TTL`], and clients that speak EDNS are told.
    pub fn write_stale<'a>(&self, client: impl Into<Client<'a>>, limit: usize, out: &mut Vec<u8>) {
        let client = client.into();
        out.clear();
        let (message, ttls) = self.parts();
        out.extend_from_slice(message);
        wire::put_ttls(out, ttls, STALE_TTL);
        let opt_length = if client.edns.is_some() { OPT_LENGTH + EXTENDED_ERROR_LENGTH } else { 0 };
        self.finish(&client, limit, opt_length, out);
        if let Some(edns) = client.edns {
            let info_code = if self.is_nxdomain() { STALE_NXDOMAIN_ANSWER } else { STALE_ANSWER };
            wire::push_opt_with_error(out, PAYLOAD_SIZE, edns.dnssec_ok, info_code);
        }
    }

    /// Makes the copy in `out` an answer to the client's query, leaving room for an OPT record of that length.
    fn finish(&self, client: &Client<'_>, limit: usize, opt_length: usize, out: &mut Vec<u8>) {
        wire::put_question(out, client.question);
        let mut flags = self.flags(client);
        if out.len() + opt_length > limit {
            self.truncate(out, limit.saturating_sub(opt_length));
            flags.0 |= Flags::TC;
        }
        wire::put_header(out, client.id, flags);
    }

    /// Our copy of the upstream's flags, with the client's RD and CD, and AD only for those who understand it.
    fn flags(&self, client: &Client<'_>) -> Flags {
        let own = Message::new(self.bytes()).map_or(0, |message| message.flags().0);
        let mut flags = own & !(Flags::RD | Flags::CD) | (client.flags.0 & (Flags::RD | Flags::CD));
        if !client.understands_authentic_data() {
            flags &= !Flags::AD;
        }
        Flags(flags)
    }

    /// Keeps the answers that fit whole. Old stub resolvers (musl before 1.2.4) never ask again by TCP and live
    /// on what a truncated answer holds, so an empty one would be "no such address" to them.
    fn truncate(&self, out: &mut Vec<u8>, limit: usize) {
        let mut kept = 0;
        let mut end = HEADER_LENGTH + usize::from(self.facts().question_length);
        if let Some(message) = Message::new(self.bytes()) {
            let records = message.records(usize::from(self.facts().question_length)).map_while(Result::ok);
            for record in
                records.take_while(|record| record.section == Section::Answer && record.end <= limit)
            {
                kept += 1;
                end = record.end;
            }
        }
        out.truncate(end);
        wire::put_counts(out, 1, [kept, 0, 0]);
    }

    fn facts(&self) -> &Facts {
        &self.0.header.header
    }

    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The message, and where its TTLs stand.
    fn parts(&self) -> (&[u8], impl Iterator<Item = u16>) {
        let (message, places) = self.bytes().split_at(self.facts().message_length.into());
        (message, numbers(places))
    }

    /// Whole seconds since it came.
    pub fn age(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.facts().stored).as_secs()).unwrap_or(u32::MAX)
    }
}

/// What a block has beside the facts and the bytes: how many hold it, and how many bytes there are.
const BLOCK_HEADER: usize = 2 * size_of::<usize>();

/// Numbers of two bytes each.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair))
}

#[cfg(test)]
mod tests;
