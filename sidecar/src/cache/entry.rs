//! A cached answer: the upstream's own records, compressed where that saves memory, with the offsets of their
//! TTLs.
//!
//! A hit copies the bytes and patches them; nothing is decoded. A miss is answered by the same code, so the
//! first answer looks like the later ones.
//!
//! Every answer begins its address records with another one, so that clients that take the first address
//! spread over all of them. CoreDNS's `loadbalance` shuffles them and MX records. Clients of MX, SRV and
//! HTTPS choose by priority themselves (RFC 5321 section 5.1, RFC 2782, RFC 9460 section 2.4.1). So those
//! records stay in the upstream's order, as aliases do.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use podlocal_dns::wire::{
    self, AddressRun, EXTENDED_ERROR_LENGTH, Flags, Message, OPT_LENGTH, Rcode, Section,
};
use triomphe::ThinArc;

use super::lifetime::Lifetime;
use crate::query::Client;
use crate::reply::PAYLOAD_SIZE;

mod make;

/// One answer, without its OPT record (RFC 6891 section 6.1.1: never cached, never forwarded). Cheap to
/// clone: all clones share one block of memory.
///
/// The bytes are the message, with the upstream's flags and adjusted counts; behind it the offsets of its
/// TTLs, two bytes each, and the runs of records that are rotated, six bytes each. Readers of the message
/// stop at its counts, and do not reach those.
#[derive(Debug, Clone)]
pub struct Entry(ThinArc<Facts, u8>);

/// The state of an answer beside its bytes.
#[derive(Debug)]
struct Facts {
    message_length: u16,
    question_length: u16,
    stored: Instant,
    lifetime: Lifetime,
    /// The number of hits, up to [`POPULAR`].
    hits: AtomicU8,
    /// Bits: [`REFRESHING`] and [`SERVED_STALE`].
    marks: AtomicU8,
    /// The number of runs of records that are rotated.
    runs: u8,
    /// By how many records the next answer is rotated.
    rotation: AtomicU8,
}

/// A query to refresh it before its end is in flight.
const REFRESHING: u8 = 1;

/// It was served after its end, because the upstream was too slow.
const SERVED_STALE: u8 = 2;

/// The number of hits from which on an answer is popular, and refreshed before it expires.
const POPULAR: u8 = 2;

/// The TTL of an expired answer, in seconds (RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914 sections 4.4 and 4.20).
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN_ANSWER: u16 = 19;

impl Entry {
    /// Whether it has not expired.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.seconds()
    }

    /// When it arrived.
    pub fn stored_at(&self) -> Instant {
        self.facts().stored
    }

    /// Whether the expired answer may be served: while the upstream fails, for `most` longer (RFC 8767).
    pub fn is_usable_stale(&self, now: Instant, most: Duration) -> bool {
        let end = Duration::from_secs(self.seconds().into());
        self.seconds() > 0
            && !most.is_zero()
            && now.saturating_duration_since(self.facts().stored) < end + most
    }

    /// Counts a hit; `true` for the one hit that is to start a refresh: of a popular answer in the last tenth
    /// of its TTL.
    pub fn wants_refresh(&self, now: Instant) -> bool {
        let hits = self.facts().hits.load(Ordering::Relaxed);
        if hits < POPULAR {
            self.facts().hits.store(hits + 1, Ordering::Relaxed);
            return false;
        }
        let Lifetime::Positive(seconds) = self.facts().lifetime else { return false };
        let life = Duration::from_secs(seconds.into());
        now.saturating_duration_since(self.facts().stored) >= life * 9 / 10
            && self.facts().marks.fetch_or(REFRESHING, Ordering::Relaxed) & REFRESHING == 0
    }

    /// Notes that the expired answer was served because the query in flight is slow: later clients need not
    /// wait for the same query.
    pub fn mark_served_stale(&self) {
        self.facts().marks.fetch_or(SERVED_STALE, Ordering::Relaxed);
    }

    /// Whether the expired answer was served.
    pub fn was_served_stale(&self) -> bool {
        self.facts().marks.load(Ordering::Relaxed) & SERVED_STALE != 0
    }

    /// Whether the name does not exist, for any type. An NXDOMAIN behind an alias does not count: the alias
    /// itself may have other types.
    pub fn is_missing_name(&self) -> bool {
        let message = Message::new(self.bytes());
        message.is_some_and(|message| {
            let [answers, ..] = message.record_counts();
            message.flags().rcode() == Rcode::NXDOMAIN && answers == 0
        })
    }

    /// Whether the name, or the end of its alias, does not exist.
    pub fn is_nxdomain(&self) -> bool {
        Message::new(self.bytes()).is_some_and(|message| message.flags().rcode() == Rcode::NXDOMAIN)
    }

    /// Whether it has records of the queried type.
    pub fn is_positive(&self) -> bool {
        matches!(self.facts().lifetime, Lifetime::Positive(_))
    }

    /// The time until it expires.
    pub fn remaining(&self, now: Instant) -> Duration {
        Duration::from_secs(self.seconds().into())
            .saturating_sub(now.saturating_duration_since(self.facts().stored))
    }

    /// The whole message with TTLs as they are now, for decoding.
    pub fn aged(&self, now: Instant) -> Vec<u8> {
        let (message, ttls) = self.parts();
        let mut bytes = message.to_vec();
        wire::age(&mut bytes, ttls, self.age(now));
        bytes
    }

    /// Its TTL in whole seconds; 0: it may not be cached.
    pub fn seconds(&self) -> u32 {
        self.facts().lifetime.seconds()
    }

    /// The memory of the entry, in bytes.
    pub fn size(&self) -> usize {
        BLOCK_HEADER + size_of::<Facts>() + self.bytes().len()
    }

    /// Writes the answer to a client's query, in at most `limit` bytes. It has the client's id, its RD and CD
    /// flags and its case of the name, and EDNS if the client uses it. TTLs are as they are now, and address
    /// records in another order than the last time. Records that do not fit are left out, and TC is set where
    /// necessary. Allocates only when `out` must grow.
    pub fn write<'a>(&self, client: impl Into<Client<'a>>, now: Instant, limit: usize, out: &mut Vec<u8>) {
        let client = client.into();
        self.copy(&client, limit, Ttls::Aged(self.age(now)), out);
        if let Some(edns) = client.edns {
            wire::push_opt(out, PAYLOAD_SIZE, 0, edns.dnssec_ok);
        }
    }

    /// The same for an expired answer: the TTLs are [`STALE_TTL`], and clients with EDNS get an Extended DNS
    /// Error if there is room behind the records (RFC 8914 section 3).
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

    /// Copies the records that fit into `limit`, with room for the client's OPT record, and makes the copy an
    /// answer to the client's query.
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

    /// The upstream's flags, with the client's RD and CD, and AD only for clients that understand it.
    fn flags(&self, client: &Client<'_>) -> Flags {
        let own = Message::new(self.bytes()).map_or(0, |message| message.flags().0);
        let mut flags = own & !(Flags::RD | Flags::CD) | (client.flags.0 & (Flags::RD | Flags::CD));
        if !client.understands_authentic_data() {
            flags &= !Flags::AD;
        }
        Flags(flags)
    }

    /// Copies the records that fit; returns whether TC must be set (RFC 2181 section 9).
    ///
    /// | what does not fit | TC |
    /// |---|---|
    /// | the answer section | yes |
    /// | anything, in a message without answers: an SOA or a proof of nonexistence, a referral and its glue (RFC 9471) | yes |
    /// | the authority section behind an answer, for a client that asks for DNSSEC: it may contain a proof (RFC 4035 section 3.1.3.3) | yes |
    /// | the authority or additional section behind an answer, for a PodLocal DNS proxy: its clients accept larger messages | yes, as CoreDNS does for every client |
    /// | the authority section behind an answer | no |
    /// | the additional section behind an answer | no |
    #[cold]
    fn truncate(&self, client: &Client<'_>, limit: usize, ttls: Ttls, out: &mut Vec<u8>) -> bool {
        let (bytes, places) = self.parts();
        let Some(message) = Message::new(bytes) else { return true };
        // Only the records that fit are looked at and copied: a small client's part of a large answer costs
        // no more than a small answer.
        let fit = message.fit(self.facts().question_length.into(), limit);
        let [answers, ..] = message.record_counts();
        out.extend_from_slice(bytes.get(..fit.end).unwrap_or_default());
        wire::put_counts(out, 1, fit.counts);
        if self.facts().runs > 0 {
            let turns = self.next_rotation();
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

    /// Rotates every run of address records in the copy.
    #[inline(never)] // most answers have one address
    fn rotate(&self, out: &mut [u8]) {
        let turns = self.next_rotation();
        self.runs().for_each(|run| run.rotate(out, turns));
    }

    /// By how many records the next answer is rotated. Two answers at the same moment may begin with the same
    /// record: preventing that would cost more than it is worth.
    fn next_rotation(&self) -> u8 {
        let rotation = &self.facts().rotation;
        let turns = rotation.load(Ordering::Relaxed);
        rotation.store(turns.wrapping_add(1), Ordering::Relaxed);
        turns
    }

    fn runs(&self) -> impl Iterator<Item = AddressRun> {
        let (_, tail) = self.bytes().split_at(self.facts().message_length.into());
        let mut runs = numbers(tail.get(self.places(tail).len()..).unwrap_or_default());
        std::iter::from_fn(move || {
            Some(AddressRun { start: runs.next()?, size: runs.next()?, count: runs.next()? })
        })
    }

    fn facts(&self) -> &Facts {
        &self.0.header.header
    }

    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The message, and the offsets of its TTLs.
    fn parts(&self) -> (&[u8], impl Iterator<Item = u16>) {
        let (message, tail) = self.bytes().split_at(self.facts().message_length.into());
        (message, numbers(self.places(tail)))
    }

    /// The offsets of the TTLs, from the bytes behind the message.
    fn places<'a>(&self, tail: &'a [u8]) -> &'a [u8] {
        tail.split_at(tail.len() - RUN_LENGTH * usize::from(self.facts().runs)).0
    }

    /// Whole seconds since it arrived.
    pub fn age(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.facts().stored).as_secs()).unwrap_or(u32::MAX)
    }
}

/// The TTLs in a copy.
#[derive(Clone, Copy)]
enum Ttls {
    /// Each is lowered by so many seconds.
    Aged(u32),
    /// All have this value.
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

/// The header of a block: the reference count, and the number of bytes.
const BLOCK_HEADER: usize = 2 * size_of::<usize>();

/// Numbers of two bytes each.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair))
}

#[cfg(test)]
mod tests;
