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
use std::time::{Duration, Instant};

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
    /// When the misses of unverified sources so far are paid for ([`admit`]).
    new_until: AtomicU64,
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
    misses: AtomicU32,
    /// When the misses so far are paid for, in nanoseconds since the start ([`admit`]).
    paid_until: AtomicU64,
    /// The same for refusals.
    refused_until: AtomicU64,
    /// The same for long answers.
    long_until: AtomicU64,
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
            new_until: AtomicU64::new(0),
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
            if !try_increment(&slot.misses, max_waiting(self.max_misses, free())) {
                return Err(self.refused(Limit::MissesPerSource, slot, now));
            }
            place = MissPermit(Some((Arc::clone(slots), index as u32)));
        }
        if !self.try_spend(&slot.paid_until, 1, now) {
            return Err(self.refused(Limit::MissRatePerSource, slot, now));
        }
        Ok(place)
    }

    /// Refuses a miss because of a limit that is not per source.
    pub fn refuse(&self, source: IpAddr, limit: Limit, now: Instant) -> Refused {
        match self.slot(source) {
            Some((slots, index)) => self.refused(limit, &slots[index], now),
            None => Refused { limit, is_reported: true },
        }
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
        self.try_spend(&self.new_until, NEW_SOURCES, now)
    }

    /// Spends one of a source's long answers over UDP; `false`: there are none left.
    pub fn try_spend_long_answer(&self, source: IpAddr, now: Instant) -> bool {
        let Some((slots, index)) = self.slot(source) else { return true };
        self.try_spend(&slots[index].long_until, 1, now)
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
        let Some((slots, index)) = self.slot(source).filter(|_| self.misses_per_second > 0) else {
            return false;
        };
        slots[index].refused_until.load(Ordering::Relaxed)
            > nanos(now.saturating_duration_since(self.start)) + BURST
    }

    fn refused(&self, limit: Limit, slot: &Slot, now: Instant) -> Refused {
        Refused { limit, is_reported: self.try_spend(&slot.refused_until, REFUSALS_PER_MISS, now) }
    }

    /// Spends one of the things that a source may have `times` as often as misses; always `true` where misses
    /// have no rate limit.
    fn try_spend(&self, paid_until: &AtomicU64, times: u64, now: Instant) -> bool {
        let rate = u64::from(self.misses_per_second) * times;
        let Some(interval) = 1_000_000_000_u64.checked_div(rate) else { return true };
        let now = nanos(now.saturating_duration_since(self.start));
        let pay = |paid_until| admit(paid_until, now, interval);
        paid_until.try_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
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
            slots[*index as usize].misses.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Increments a counter that is below `most`.
fn try_increment(counter: &AtomicU32, most: u32) -> bool {
    let more = |count: u32| (count < most).then_some(count + 1);
    counter.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
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

/// Whether one more is admitted, and until when it is then paid for: one each `interval`, with a burst of two
/// seconds' worth (the generic cell rate algorithm, ITU-T I.371). All in nanoseconds.
fn admit(paid_until: u64, now: u64, interval: u64) -> Option<u64> {
    (paid_until <= now + BURST).then(|| paid_until.max(now) + interval)
}

/// The burst that a source may have: two seconds' worth, in nanoseconds.
const BURST: u64 = 2_000_000_000;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_settings::read::{Given, read};

    fn sources(bounds: &[(&str, &str)], now: Instant) -> Sources {
        let given = |setting: &podlocal_settings::table::Setting| {
            let of_setting = bounds.iter().filter(|(name, _)| *name == setting.name);
            of_setting
                .map(|(name, text)| Given { origin: (*name).to_owned(), text: (*text).to_owned() })
                .collect()
        };
        let read = read(given);
        assert_eq!(read.errors, []);
        Sources::new(&read.settings, now)
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_source_may_take_a_quarter_of_the_free_places() {
        let table = [(65_536, 256), (1024, 256), (400, 100), (4, 1), (3, 1), (1, 1), (0, 0)];
        assert!(table.into_iter().all(|(free, expected)| max_waiting(256, free) == expected));
    }

    #[test]
    fn one_source_cannot_take_the_places_of_another() {
        let now = Instant::now();
        let sources = sources(&[("max-misses-per-source", "3")], now);
        let mut held: Vec<_> =
            (0..3).map(|_| sources.admit_miss(ONE, || 100, now).expect("admitted")).collect();
        let refused = Refused { limit: Limit::MissesPerSource, is_reported: true };
        assert_eq!(sources.admit_miss(ONE, || 100, now).expect_err("full"), refused);
        assert!(sources.admit_miss(OTHER, || 100, now).is_ok());
        held.pop();
        assert!(sources.admit_miss(ONE, || 100, now).is_ok(), "a place is free again");
    }

    #[test]
    fn a_source_has_a_burst_of_two_seconds_and_then_its_rate() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        let asks =
            |count: u32, now| (0..count).filter(|_| sources.admit_miss(ONE, || 1000, now).is_ok()).count();
        assert_eq!(asks(1000, now), 201);
        assert_eq!(asks(1000, now + Duration::from_millis(500)), 50);
        assert_eq!(asks(1000, now + Duration::from_secs(60)), 201, "unused misses are not saved for longer");
        assert!(sources.admit_miss(OTHER, || 1000, now).is_ok());
    }

    #[test]
    fn a_flooding_source_gets_four_refusals_per_miss_and_then_silence() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        let refused: Vec<_> =
            (0..10_000).filter_map(|_| sources.admit_miss(ONE, || 1000, now).err()).collect();
        assert_eq!(refused.iter().filter(|refused| refused.is_reported).count(), 801);
        assert!(refused.iter().all(|refused| refused.limit == Limit::MissRatePerSource));
        let later = now + Duration::from_millis(500);
        let refused = (0..1000).filter_map(|_| sources.admit_miss(ONE, || 1000, later).err());
        assert_eq!(refused.filter(|refused| refused.is_reported).count(), 200);
        assert!(sources.is_silenced(ONE, later) && !sources.is_silenced(OTHER, later));
        assert!(!sources.is_silenced(ONE, later + Duration::from_secs(1)));
    }

    #[test]
    fn unverified_sources_share_the_misses_of_ten_sources() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        assert!(sources.is_new(ONE, now));
        let asked = |now| (0..10_000).filter(|_| sources.try_spend_new_source(now)).count();
        assert_eq!([asked(now), asked(now + Duration::from_millis(500))], [2001, 500]);
        sources.know(ONE, now);
        assert!(!sources.is_new(ONE, now) && sources.is_new(OTHER, now));
        assert!(!sources.is_new(ONE, now + Duration::from_hours(1)));
        assert!(sources.is_new(ONE, now + Duration::from_secs(3601)));
    }

    #[test]
    fn an_address_in_the_slot_of_a_verified_one_is_unverified() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        sources.know(ONE, now);
        let number = sources.number(ONE);
        let mut others = (0..u32::MAX).map(|bits| IpAddr::from(bits.to_be_bytes()));
        let other = others.find(|other| *other != ONE && sources.number(*other) == number);
        assert!(sources.is_new(other.expect("one in 16,384"), now));
    }

    #[test]
    fn in_a_pod_nothing_is_counted() {
        let now = Instant::now();
        let sources = sources(&[], now);
        assert!((0..100_000).all(|_| sources.admit_miss(ONE, || 0, now).is_ok()));
        assert!(!sources.is_new(ONE, now));
        assert!((0..100_000).all(|_| sources.try_spend_long_answer(ONE, now)));
        assert!(sources.are_answered(ONE, now) && !sources.are_answered([8, 8, 8, 8].into(), now));
    }

    #[test]
    fn an_ipv4_mapped_ipv6_address_is_the_same_source() {
        let now = Instant::now();
        let sources = sources(&[("max-misses-per-source", "1")], now);
        let _held = sources.admit_miss(ONE, || 100, now).expect("admitted");
        assert!(sources.admit_miss("::ffff:10.0.0.1".parse().expect("an address"), || 100, now).is_err());
    }
}
