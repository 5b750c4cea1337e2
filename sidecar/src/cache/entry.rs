//! An answer as it is kept: the upstream's own records, compressed where that matters, with the places of their TTLs.
//!
//! A hit copies the bytes and patches them; nothing is decoded. A miss is answered by the same writer, so the
//! first answer looks like the later ones.
//!
//! Every answer begins its address records with another one, so that clients that take the first address spread over all of
//! them. CoreDNS's `loadbalance` shuffles them and MX records; clients of MX, SRV and HTTPS choose by priority themselves
//! (RFC 5321 section 5.1, RFC 2782, RFC 9460 section 2.4.1), so those stay in the upstream's order, as aliases do.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use super::lifetime::{Lifetime, Limits};
use crate::query::Client;
use crate::reply::PAYLOAD_SIZE;
use crate::wire::{
    self, EXTENDED_ERROR_LENGTH, Flags, HEADER_LENGTH, Malformed, Message, OPT_LENGTH, Rcode, Run, Section,
    TYPE_OPT,
};

/// One answer, without its OPT record (RFC 6891 section 6.1.1: never cached, never forwarded). Cheap to clone: all clones
/// are the same answer, in one block of memory.
///
/// The bytes are the message, with the upstream's flags and counts that fit what is left of it; behind it the places of
/// its TTLs, two bytes each, and the runs of records that are rotated, six bytes each. Whoever reads records goes by the
/// counts, and does not come that far.
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
    /// [`REFRESHING`] and [`GIVEN_STALE`].
    marks: AtomicU8,
    /// How many runs of records are rotated.
    runs: u8,
    /// How far the next answer is rotated.
    turn: AtomicU8,
}

impl Facts {
    /// Of an answer that nobody was given yet.
    fn with_lifetime(&self, lifetime: Lifetime) -> Self {
        let Self { message_length, question_length, stored, runs, .. } = *self;
        let turn = AtomicU8::new(self.turn.load(Ordering::Relaxed));
        let (given, marks) = (AtomicU8::new(0), AtomicU8::new(0));
        Self { message_length, question_length, stored, lifetime, given, marks, runs, turn }
    }
}

/// Somebody is asking for it anew, ahead of its end.
const REFRESHING: u8 = 1;

/// It was given after its end, because the upstream was too slow.
const GIVEN_STALE: u8 = 2;

/// From how many hits on an answer is popular, and refreshed before it expires.
const POPULAR: u8 = 2;

/// The TTL of an answer after its end (RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// What the place of a TTL takes, and room for the runs and the places that are not of answers.
const PLACE_LENGTH: usize = 2;
const PLACES_ROOM: usize = 16;

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
        let mut end = HEADER_LENGTH + question_length;
        let [answers, ..] = message.record_counts();
        let room = usize::from(answers) * PLACE_LENGTH + PLACES_ROOM;
        let mut bytes = Vec::with_capacity(response.len() + room);
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
            wire::put_ttl(
                &mut bytes,
                record.ttl_at,
                lifetime.record_ttl(record.ttl, record.section == Section::Answer, limits),
            );
            end = record.end;
        }
        bytes.truncate(end);
        wire::put_counts(&mut bytes, 1, counts);
        let compressed = if counts == [1, 0, 0] { None } else { wire::compress(&bytes, question_length) };
        let compressed = compressed.filter(|compressed| compressed.len() <= bytes.len().max(FITS_EVERYWHERE));
        // Elsewhere a pointer may lead into a record that would be moved.
        let may_rotate = compressed.is_some();
        let mut bytes = compressed.unwrap_or(bytes);
        let (ttls, mut runs) = Message::new(&bytes).ok_or(Malformed)?.layout(question_length)?;
        runs.truncate(if may_rotate { u8::MAX.into() } else { 0 });
        let facts = Facts {
            message_length: u16::try_from(bytes.len()).map_err(|_| Malformed)?,
            question_length: question_length as u16,
            stored: now,
            lifetime,
            given: AtomicU8::new(0),
            marks: AtomicU8::new(0),
            runs: runs.len() as u8,
            // The id of our question, a random number: caches that start together begin with different records.
            turn: AtomicU8::new(message.id() as u8),
        };
        let numbers = ttls.into_iter().chain(runs.into_iter().flat_map(Run::numbers));
        bytes.extend(numbers.flat_map(u16::to_ne_bytes));
        Ok(Self(ThinArc::from_header_and_slice(facts, &bytes)))
    }

    /// Whether it may still be given as an answer.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.seconds()
    }

    /// When it came.
    pub fn stored_at(&self) -> Instant {
        self.facts().stored
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
            && self.facts().marks.fetch_or(REFRESHING, Ordering::Relaxed) & REFRESHING == 0
    }

    /// Notes that it was given after its end, because the answer under way is slow: who comes next and would wait for
    /// the same one need not.
    pub fn note_given_stale(&self) {
        self.facts().marks.fetch_or(GIVEN_STALE, Ordering::Relaxed);
    }

    /// Whether it was given after its end.
    pub fn was_given_stale(&self) -> bool {
        self.facts().marks.load(Ordering::Relaxed) & GIVEN_STALE != 0
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
        let Lifetime::Negative(seconds) = self.facts().lifetime else { return self };
        let facts = self.facts().with_lifetime(Lifetime::Negative(seconds.min(most)));
        let mut bytes = self.bytes().to_vec();
        let (message, places) = bytes.split_at_mut(facts.message_length.into());
        wire::cap_ttls(message, numbers(self.places(places)), most);
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
    /// spelling of the name, TTLs as they are now, address records in another order than the last time, EDNS when the client
    /// speaks it. What does not fit is left out, and TC says so where it must. Allocates only when `out` must grow.
    pub fn write<'a>(&self, client: impl Into<Client<'a>>, now: Instant, limit: usize, out: &mut Vec<u8>) {
        let client = client.into();
        self.copy(&client, limit, Ttls::Aged(self.age(now)), out);
        if let Some(edns) = client.edns {
            wire::push_opt(out, PAYLOAD_SIZE, 0, edns.dnssec_ok);
        }
    }

    /// The same after the end of its life: the TTLs are [`STALE_TTL`], and clients that speak EDNS are told where there is room
    /// behind the records (RFC 8914 section 3).
    pub fn write_stale<'a>(&self, client: impl Into<Client<'a>>, limit: usize, out: &mut Vec<u8>) {
        let client = client.into();
        self.copy(&client, limit, Ttls::All(STALE_TTL), out);
        let Some(edns) = client.edns else { return };
        if out.len() + OPT_LENGTH + EXTENDED_ERROR_LENGTH > limit {
            wire::push_opt(out, PAYLOAD_SIZE, 0, edns.dnssec_ok);
        } else {
            let info_code = if self.is_nxdomain() { STALE_NXDOMAIN_ANSWER } else { STALE_ANSWER };
            wire::push_opt_with_error(out, PAYLOAD_SIZE, edns.dnssec_ok, info_code);
        }
    }

    /// Copies what fits into `limit`, with room for the client's OPT record, and makes it an answer to the client's query.
    fn copy(&self, client: &Client<'_>, limit: usize, ttls: Ttls, out: &mut Vec<u8>) {
        let limit = limit.saturating_sub(if client.edns.is_some() { OPT_LENGTH } else { 0 });
        let mut flags = self.flags(client);
        let (message, places) = self.parts();
        out.clear();
        if message.len() <= limit {
            out.extend_from_slice(message);
            ttls.put(out, places);
            if self.facts().runs > 0 {
                self.rotate(out);
            }
        } else if self.truncate(client, limit, ttls, out) {
            flags.0 |= Flags::TC;
        }
        wire::put_question(out, client.question);
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

    /// Keeps what fits; whether TC must say that something is missing (RFC 2181 section 9).
    ///
    /// | what does not fit | TC |
    /// |---|---|
    /// | the answer section | yes |
    /// | anything, and there is no answer: an SOA or a proof that nothing is there, a referral and its glue (RFC 9471) | yes |
    /// | the authority section behind an answer, for who wants DNSSEC: it may hold proof (RFC 4035 section 3.1.3.3) | yes |
    /// | either behind an answer, for a proxy of our kind: its clients take larger ones | yes, as CoreDNS does for everybody |
    /// | the authority section behind an answer | no |
    /// | the additional section behind an answer | no |
    #[cold]
    fn truncate(&self, client: &Client<'_>, limit: usize, ttls: Ttls, out: &mut Vec<u8>) -> bool {
        let (bytes, places) = self.parts();
        let Some(message) = Message::new(bytes) else { return true };
        // Only what fits is looked at and copied: a small client's part of a large answer costs no more than a small answer.
        let fit = message.fit(self.facts().question_length.into(), limit);
        let [answers, ..] = message.record_counts();
        out.extend_from_slice(bytes.get(..fit.end).unwrap_or_default());
        wire::put_counts(out, 1, fit.counts);
        if self.facts().runs > 0 {
            let turns = self.next_turn();
            self.runs().for_each(|run| run.rotate_from(bytes, out, turns));
        }
        ttls.put(out, places.take_while(|at| usize::from(*at) < fit.end));
        let wants_dnssec = client.edns.is_some_and(|edns| edns.dnssec_ok);
        let is_proxy = client.edns.is_some_and(|edns| edns.is_proxy);
        match fit.left_out {
            Section::Answer => true,
            Section::Authority => answers == 0 || wants_dnssec || is_proxy,
            Section::Additional => answers == 0 || is_proxy,
        }
    }

    /// Lets every run of address records in the copy begin with the next one.
    #[inline(never)] // most answers have one address
    fn rotate(&self, out: &mut [u8]) {
        let turns = self.next_turn();
        self.runs().for_each(|run| run.rotate(out, turns));
    }

    /// How far the next answer is rotated. Two answers at the same moment may begin with the same record: that costs less than
    /// to make sure.
    fn next_turn(&self) -> u8 {
        let turn = &self.facts().turn;
        let turns = turn.load(Ordering::Relaxed);
        turn.store(turns.wrapping_add(1), Ordering::Relaxed);
        turns
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        let (_, tail) = self.bytes().split_at(self.facts().message_length.into());
        let mut runs = numbers(tail.get(self.places(tail).len()..).unwrap_or_default());
        std::iter::from_fn(move || Some(Run { start: runs.next()?, size: runs.next()?, count: runs.next()? }))
    }

    fn facts(&self) -> &Facts {
        &self.0.header.header
    }

    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The message, and where its TTLs stand.
    fn parts(&self) -> (&[u8], impl Iterator<Item = u16>) {
        let (message, tail) = self.bytes().split_at(self.facts().message_length.into());
        (message, numbers(self.places(tail)))
    }

    /// The places of the TTLs, out of what is kept behind the message.
    fn places<'a>(&self, tail: &'a [u8]) -> &'a [u8] {
        tail.split_at(tail.len() - RUN_LENGTH * usize::from(self.facts().runs)).0
    }

    /// Whole seconds since it came.
    pub fn age(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.facts().stored).as_secs()).unwrap_or(u32::MAX)
    }
}

/// What becomes of the TTLs in a copy.
#[derive(Clone, Copy)]
enum Ttls {
    /// So much is taken off each.
    Aged(u32),
    /// All are this.
    All(u32),
}

impl Ttls {
    #[inline]
    fn put(self, out: &mut [u8], places: impl Iterator<Item = u16>) {
        match self {
            Self::Aged(seconds) => wire::age(out, places, seconds),
            Self::All(ttl) => wire::put_ttls(out, places, ttl),
        }
    }
}

/// The length of a run in an entry.
const RUN_LENGTH: usize = size_of::<[u16; 3]>();

/// What fits for every client, with our OPT record: it need not become shorter.
const FITS_EVERYWHERE: usize = 512 - OPT_LENGTH - EXTENDED_ERROR_LENGTH;

/// What a block has beside the facts and the bytes: how many hold it, and how many bytes there are.
const BLOCK_HEADER: usize = 2 * size_of::<usize>();

/// Numbers of two bytes each.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair))
}

#[cfg(test)]
mod tests;
