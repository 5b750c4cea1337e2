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

use podlocal_dns::wire::{self, Message, Rcode};
use triomphe::ThinArc;

use super::lifetime::Lifetime;

mod make;
mod write;

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
    /// Bits: [`REFRESHING`], [`SERVED_STALE`] and [`FROM_SEARCH_LIST`].
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

/// It is the answer for another name, which the search list has given.
const FROM_SEARCH_LIST: u8 = 4;

/// The number of hits from which on an answer is popular, and refreshed before it expires.
const POPULAR: u8 = 2;

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

    /// Notes that it is the answer for another name, which the search list has given.
    pub fn mark_from_search_list(&self) {
        self.facts().marks.fetch_or(FROM_SEARCH_LIST, Ordering::Relaxed);
    }

    /// Whether it is the answer for another name, which the search list has given.
    pub fn is_from_search_list(&self) -> bool {
        self.facts().marks.load(Ordering::Relaxed) & FROM_SEARCH_LIST != 0
    }

    /// Whether the name does not exist, for any type. An NXDOMAIN behind an alias does not count: the alias
    /// itself may have other types.
    pub fn is_missing_name(&self) -> bool {
        self.is_nxdomain() && self.message().is_some_and(|message| matches!(message.record_counts(), [0, ..]))
    }

    /// Whether the name, or the end of its alias, does not exist.
    pub fn is_nxdomain(&self) -> bool {
        self.message().is_some_and(|message| message.flags().rcode() == Rcode::NXDOMAIN)
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
    #[inline]
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

    #[inline]
    fn facts(&self) -> &Facts {
        &self.0.header.header
    }

    #[inline]
    fn message(&self) -> Option<Message<'_>> {
        Message::new(self.bytes())
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The message, and the offsets of its TTLs.
    #[inline]
    fn parts(&self) -> (&[u8], impl Iterator<Item = u16>) {
        let (message, tail) = self.bytes().split_at(self.facts().message_length.into());
        (message, numbers(self.places(tail)))
    }

    /// The offsets of the TTLs, from the bytes behind the message.
    #[inline]
    fn places<'a>(&self, tail: &'a [u8]) -> &'a [u8] {
        tail.split_at(tail.len() - RUN_LENGTH * usize::from(self.facts().runs)).0
    }

    /// Whole seconds since it arrived.
    pub fn age(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.facts().stored).as_secs()).unwrap_or(u32::MAX)
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
