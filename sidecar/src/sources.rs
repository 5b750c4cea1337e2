//! Per-source limits. Pure but for its counters; the time is passed in.
//!
//! | a source wants | it gets it when |
//! |---|---|
//! | anything | its address is among the allowed sources |
//! | a hit | always: a hit costs less than a refusal could save |
//! | a miss | it is below its limits on misses per second and on waiting misses ([`max_waiting`]) |
//! | a REFUSED response | four times as often as it may have misses; beyond that it gets no response, to its probes neither |
//! | a miss over UDP that starts an exchange, while its address is unverified | all unverified sources together may have ten times the misses of one source, and half of the flights; otherwise TC |
//! | a long answer over UDP | as often as a miss; otherwise TC |
//!
//! The last two rules are about forged addresses: an attacker with many of them could make the tier query
//! cluster DNS as often as if each were a pod. Or the tier could send long answers to a victim. A source is
//! verified when it has come over TCP recently, as a client does after an answer with TC. A sender of forged
//! addresses cannot do that. DNS cookies (RFC 7873) would show the same. But they would make each hit longer
//! and more expensive, and are useless without a flood.
//!
//! A pod above its limits is refused, and its sidecar queries cluster DNS. A pod that floods has no use for
//! the refusals, and each would cost as much as a hit of another pod.
//!
//! Sources are counted in a fixed number of slots, by a keyed hash of their address: nothing grows with the
//! number of forged addresses. Two sources with the same slot share its limits; each is refused a little
//! early then, and its sidecar queries cluster DNS instead.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use podlocal_settings::table::ALLOWED_SOURCES;
use podlocal_settings::{Settings, value};

use crate::metrics::Limit;

/// The allowed sources of queries, and their limits.
#[derive(Debug)]
pub struct Sources {
    answered: value::AllowedSources,
    /// `None` where no per-source limit is set, as in a pod, whose only source is the pod itself.
    slots: Option<Arc<[Slot]>>,
    hasher: RandomState,
    max_misses: u32,
    misses_per_second: u32,
    /// The misses of unverified sources.
    new: Bucket,
    start: Instant,
    /// The second since the start, counted from 1; 0: not yet.
    refusal_logged: AtomicU64,
}

/// The number of slots of forty bytes: 640 KiB in all. Of 2,000 pods one in nine shares its slot with
/// another.
const SLOTS: usize = 1 << 14;

/// The state of the sources of one slot.
#[derive(Debug, Default)]
struct Slot {
    /// The misses that wait.
    waiting: AtomicU32,
    misses: Bucket,
    refusals: Bucket,
    long_answers: Bucket,
    /// A verified source: a part of the hash of its address, and the second in which it came over TCP.
    known: AtomicU64,
}

/// A miss that is refused because of a limit.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The limit that is reached.
    pub limit: Limit,
    /// Whether the source gets a REFUSED response, and not silence.
    pub is_reported: bool,
}

/// How many times the misses of one source all unverified sources may have together.
const NEW_SOURCES: u64 = 10;

/// For how many seconds a source stays verified after it has come over TCP.
const KNOWN_FOR: u64 = 3600;

/// How many REFUSED responses a source gets for each miss that it may have.
const REFUSALS_PER_MISS: u64 = 4;

/// A miss in progress, which is counted until this is dropped.
#[derive(Debug, Default)]
pub struct MissPermit(Option<(Arc<[Slot]>, u32)>);

impl Sources {
    /// The limits of the settings.
    pub fn new(settings: &Settings, now: Instant) -> Self {
        let slots = || std::iter::repeat_with(Slot::default).take(SLOTS).collect();
        Self {
            answered: settings.allowed_sources.clone(),
            slots: (Self::count(settings) > 0).then(slots),
            hasher: RandomState::new(),
            max_misses: settings.max_misses_per_source,
            misses_per_second: settings.max_miss_rate_per_source,
            new: Bucket::default(),
            start: now,
            refusal_logged: AtomicU64::new(0),
        }
    }

    /// The number of slots; 0 where there are no per-source limits.
    pub fn count(settings: &Settings) -> usize {
        let is_bounded = settings.max_misses_per_source > 0 || settings.max_miss_rate_per_source > 0;
        if is_bounded { SLOTS } else { 0 }
    }

    /// The number of a source's slot, below [`Self::count`].
    pub fn number(&self, source: IpAddr) -> Option<u16> {
        self.slot(source).map(|(_, index)| index as u16)
    }

    /// Whether that address is allowed. A refused address is logged at most once a minute.
    pub fn are_answered(&self, source: IpAddr, now: Instant) -> bool {
        let are_answered = self.answered.contain(source);
        if !are_answered {
            let second = self.second(now);
            let is_due = |logged: u64| (logged == 0 || second >= logged + 60).then_some(second);
            if self.refusal_logged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).is_ok() {
                tracing::warn!(%source, "a query was dropped: its source address is not in {}", ALLOWED_SOURCES.name);
            }
        }
        are_answered
    }

    /// Admits a miss, while `free` of all places are free; `free` is called only if it matters.
    pub fn admit_miss(
        &self,
        source: IpAddr,
        free: impl FnOnce() -> usize,
        now: Instant,
    ) -> Result<MissPermit, Refused> {
        let Some((slots, index)) = self.slot(source) else { return Ok(MissPermit(None)) };
        let slot = &slots[index];
        let mut place = MissPermit(None);
        if self.max_misses > 0 {
            let most = max_waiting(self.max_misses, free());
            let more = |waiting: u32| (waiting < most).then_some(waiting + 1);
            if slot.waiting.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
                return Err(self.refuse(source, Limit::MissesPerSource, now));
            }
            place = MissPermit(Some((Arc::clone(slots), index as u32)));
        }
        if !self.try_spend(&slot.misses, 1, now) {
            return Err(self.refuse(source, Limit::MissRatePerSource, now));
        }
        Ok(place)
    }

    /// Refuses a miss because of that limit.
    pub fn refuse(&self, source: IpAddr, limit: Limit, now: Instant) -> Refused {
        let refusals = self.slot(source).map(|(slots, index)| &slots[index].refusals);
        let is_reported = refusals.is_none_or(|bucket| self.try_spend(bucket, REFUSALS_PER_MISS, now));
        Refused { limit, is_reported }
    }

    /// Marks a source as verified, because it has come over TCP: it receives what is sent to its address.
    pub fn know(&self, source: IpAddr, now: Instant) {
        if let Some((slots, index)) = self.slot(source) {
            slots[index].known.store(self.verified(source, self.second(now)), Ordering::Relaxed);
        }
    }

    /// Whether a source is unverified: it has not come over TCP recently. Always `false` where misses have no
    /// rate limit.
    pub fn is_new(&self, source: IpAddr, now: Instant) -> bool {
        let Some((slots, index)) = self.slot(source).filter(|_| self.misses_per_second > 0) else {
            return false;
        };
        let known = slots[index].known.load(Ordering::Relaxed);
        let second = known & u64::from(u32::MAX);
        known != self.verified(source, second) || self.second(now) > second + KNOWN_FOR
    }

    /// Spends one of the misses of all unverified sources; `false`: there are none left.
    pub fn try_spend_new_source(&self, now: Instant) -> bool {
        self.try_spend(&self.new, NEW_SOURCES, now)
    }

    /// Spends one of a source's long answers over UDP; `false`: there are none left.
    pub fn try_spend_long_answer(&self, source: IpAddr, now: Instant) -> bool {
        self.slot(source).is_none_or(|(slots, index)| self.try_spend(&slots[index].long_answers, 1, now))
    }

    /// The value in a slot for a source that has come over TCP in that second.
    fn verified(&self, source: IpAddr, second: u64) -> u64 {
        // The lower bits of the hash have chosen the slot.
        self.hash(source) >> 32 << 32 | second & u64::from(u32::MAX)
    }

    /// The second since the start, counted from 1.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() + 1
    }

    /// Whether the misses of a source get no response. Its probes get none, either: its sidecar would wait
    /// for a tier that answers probes.
    pub fn is_silenced(&self, source: IpAddr, now: Instant) -> bool {
        let slot = self.slot(source).filter(|_| self.misses_per_second > 0);
        slot.is_some_and(|(slots, index)| slots[index].refusals.is_empty(self.nanos(now)))
    }

    /// Spends one of the things that a source may have `times` as often as misses; always `true` where misses
    /// have no rate limit.
    fn try_spend(&self, bucket: &Bucket, times: u64, now: Instant) -> bool {
        let interval = 1_000_000_000_u64.checked_div(u64::from(self.misses_per_second) * times);
        interval.is_none_or(|interval| bucket.try_spend(interval, self.nanos(now)))
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn slot(&self, source: IpAddr) -> Option<(&Arc<[Slot]>, usize)> {
        let slots = self.slots.as_ref()?;
        Some((slots, self.hash(source) as usize % slots.len()))
    }

    fn hash(&self, source: IpAddr) -> u64 {
        self.hasher.hash_one(source.to_canonical())
    }
}

impl Drop for MissPermit {
    fn drop(&mut self) {
        if let Some((slots, index)) = &self.0 {
            slots[*index as usize].waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The number of misses of one source that may wait when so many of all places are free. It is a quarter of
/// the free places, and at least one while any is free. So a new source finds room, however many sources
/// there are (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).
///
/// | limit | free | may wait |
/// |---|---|---|
/// | 256 | 65,536 | 256 |
/// | 256 | 400 | 100 |
/// | 256 | 3 | 1 |
/// | 256 | 0 | 0 |
fn max_waiting(most: u32, free: usize) -> u32 {
    let share = u32::try_from(free.div_ceil(4)).unwrap_or(u32::MAX);
    most.min(share)
}

/// Things of which one may be spent each interval, with a burst of two seconds' worth. The number says until
/// when those so far are paid for, in nanoseconds since the start (the generic cell rate algorithm, ITU-T
/// I.371).
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl Bucket {
    /// Two seconds' worth, in nanoseconds.
    const BURST: u64 = 2_000_000_000;

    fn try_spend(&self, interval: u64, now: u64) -> bool {
        let pay = |paid_until: u64| (paid_until <= now + Self::BURST).then(|| paid_until.max(now) + interval);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }

    fn is_empty(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) > now + Self::BURST
    }
}

#[cfg(test)]
mod tests;
