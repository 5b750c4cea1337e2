//! Who is answered, and how much of the proxy each may take. Pure but for its counters; the time is passed in.
//!
//! | what a source asks for | it gets it when |
//! |---|---|
//! | anything | its address is among those that are answered |
//! | a hit | always: it costs less than a refusal could save |
//! | a miss | it has not asked for more misses a second than it may, and few enough of its own wait ([`most_waiting`]) |
//! | to be told that it is refused | four times as often as it may ask for misses; then there is silence, to its probes too |
//! | a miss by UDP that starts an exchange, while it is new | all that are new may have ten times what one source may, and half of the flights; else TC |
//! | a long answer by UDP | as often as a miss; else TC |
//!
//! The last two are about addresses that are forged: somebody who has many could ask cluster DNS for as much as if each were a pod, or
//! have long answers sent to somebody else. A source is known when it has come over TCP lately, as a client does that is answered with
//! TC: who forges an address cannot. DNS cookies (RFC 7873) would show the same; but they would make each hit longer and dearer, and
//! without a flood nobody needs them.
//!
//! A pod that asks too much is refused, and its sidecar asks cluster DNS. One that floods has no use for the refusals, and each
//! would cost what a hit of another pod costs.
//!
//! Sources are counted in a fixed number of slots, by a keyed hash of their address: nothing grows with the number of
//! addresses that somebody forges. Two that share a slot share its bounds; each is refused a little early then, and its
//! sidecar asks cluster DNS instead.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use podlocal_settings::table::ALLOWED_SOURCES;
use podlocal_settings::{Settings, value};

use crate::metrics::Limit;

/// The sources of queries.
#[derive(Debug)]
pub struct Sources {
    answered: value::AllowedSources,
    /// None where no bound of a source is set, as in a pod, whose only source is the pod itself.
    slots: Option<Arc<[Slot]>>,
    hasher: RandomState,
    most_misses: u32,
    misses_a_second: u32,
    /// When the misses of new sources so far are paid for ([`admit`]).
    new_until: AtomicU64,
    start: Instant,
    /// In which second since the start, counted from 1; 0: not yet.
    refusal_logged: AtomicU64,
}

/// Forty bytes each: 640 KiB in all. Of 2,000 pods one in nine shares its slot with another.
const SLOTS: usize = 1 << 14;

/// What the sources of one slot have under way.
#[derive(Debug, Default)]
struct Slot {
    misses: AtomicU32,
    /// When the misses so far are paid for, in nanoseconds since the start ([`admit`]).
    paid_until: AtomicU64,
    /// The same for refusals.
    refused_until: AtomicU64,
    /// The same for long answers.
    long_until: AtomicU64,
    /// A source that has come over TCP: a part of the hash of its address, and in which second.
    known: AtomicU64,
}

/// Why a miss gets no place.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The bound that is reached.
    pub limit: Limit,
    /// Whether the source is told.
    pub is_told: bool,
}

/// How many times as many misses as one source may have all together that are new.
const NEW_SOURCES: u64 = 10;

/// For how many seconds a source is known that has come over TCP.
const KNOWN_FOR: u64 = 3600;

/// How many refusals a source is told of for each miss that it may ask for.
const REFUSALS_PER_MISS: u64 = 4;

/// A miss that is counted until this is dropped.
#[derive(Debug, Default)]
pub struct Place(Option<(Arc<[Slot]>, u32)>);

impl Sources {
    /// The bounds of the settings.
    pub fn new(settings: &Settings, now: Instant) -> Self {
        let slots = || std::iter::repeat_with(Slot::default).take(SLOTS).collect();
        Self {
            answered: settings.allowed_sources.clone(),
            slots: (Self::count(settings) > 0).then(slots),
            hasher: RandomState::new(),
            most_misses: settings.max_misses_per_source,
            misses_a_second: settings.max_miss_rate_per_source,
            new_until: AtomicU64::new(0),
            start: now,
            refusal_logged: AtomicU64::new(0),
        }
    }

    /// How many sources are told apart; 0 where they have no bounds.
    pub fn count(settings: &Settings) -> usize {
        let is_bounded = settings.max_misses_per_source > 0 || settings.max_miss_rate_per_source > 0;
        if is_bounded { SLOTS } else { 0 }
    }

    /// The number of a source, below [`Self::count`].
    pub fn number(&self, source: IpAddr) -> Option<u16> {
        self.slot(source).map(|(_, index)| index as u16)
    }

    /// Whether that address is answered at all. Of those that are not, one a minute is logged.
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

    /// Takes a place for a miss, while so many of all places are `free`, which is asked for only where it matters.
    pub fn miss(&self, source: IpAddr, free: impl FnOnce() -> usize, now: Instant) -> Result<Place, Refused> {
        let Some((slots, index)) = self.slot(source) else { return Ok(Place(None)) };
        let slot = &slots[index];
        let mut place = Place(None);
        if self.most_misses > 0 {
            if !enter(&slot.misses, most_waiting(self.most_misses, free())) {
                return Err(self.refused(Limit::MissesPerSource, slot, now));
            }
            place = Place(Some((Arc::clone(slots), index as u32)));
        }
        if !self.pay(&slot.paid_until, 1, now) {
            return Err(self.refused(Limit::MissRatePerSource, slot, now));
        }
        Ok(place)
    }

    /// Refuses a miss because of a bound that is not its source's alone.
    pub fn refuse(&self, source: IpAddr, limit: Limit, now: Instant) -> Refused {
        match self.slot(source) {
            Some((slots, index)) => self.refused(limit, &slots[index], now),
            None => Refused { limit, is_told: true },
        }
    }

    /// A source has come over TCP: it receives what is sent to its address.
    pub fn know(&self, source: IpAddr, now: Instant) {
        if let Some((slots, index)) = self.slot(source) {
            slots[index].known.store(self.known(source, self.second(now)), Ordering::Relaxed);
        }
    }

    /// Whether a source has not come over TCP lately. Never where misses have no rate.
    pub fn is_new(&self, source: IpAddr, now: Instant) -> bool {
        let Some((slots, index)) = self.slot(source).filter(|_| self.misses_a_second > 0) else {
            return false;
        };
        let known = slots[index].known.load(Ordering::Relaxed);
        let second = known & u64::from(u32::MAX);
        known != self.known(source, second) || self.second(now) > second + KNOWN_FOR
    }

    /// Pays for a miss of a source that is new.
    pub fn may_ask_as_new(&self, now: Instant) -> bool {
        self.pay(&self.new_until, NEW_SOURCES, now)
    }

    /// Pays for a long answer by UDP.
    pub fn may_have_long_answer(&self, source: IpAddr, now: Instant) -> bool {
        let Some((slots, index)) = self.slot(source) else { return true };
        self.pay(&slots[index].long_until, 1, now)
    }

    /// What a slot holds of a source that has come over TCP in that second.
    fn known(&self, source: IpAddr, second: u64) -> u64 {
        // The lower bits of the hash have chosen the slot.
        self.hash(source) >> 32 << 32 | second & u64::from(u32::MAX)
    }

    /// In which second since the start, counted from 1.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() + 1
    }

    /// Whether a source gets silence for its misses. Its probes are not answered then, either: a tier that says that it is
    /// alive is waited for.
    pub fn is_silenced(&self, source: IpAddr, now: Instant) -> bool {
        let Some((slots, index)) = self.slot(source).filter(|_| self.misses_a_second > 0) else {
            return false;
        };
        slots[index].refused_until.load(Ordering::Relaxed)
            > nanos(now.saturating_duration_since(self.start)) + BURST
    }

    fn refused(&self, limit: Limit, slot: &Slot, now: Instant) -> Refused {
        Refused { limit, is_told: self.pay(&slot.refused_until, REFUSALS_PER_MISS, now) }
    }

    /// Pays for one of what a source may have `times` as often as misses; always where those have no rate.
    fn pay(&self, paid_until: &AtomicU64, times: u64, now: Instant) -> bool {
        let rate = u64::from(self.misses_a_second) * times;
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

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((slots, index)) = &self.0 {
            slots[*index as usize].misses.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts one more, unless there are `most` already.
fn enter(counter: &AtomicU32, most: u32) -> bool {
    let more = |count: u32| (count < most).then_some(count + 1);
    counter.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// How many misses of one source may wait when so many places of all are free: a quarter of those, so that however many
/// sources ask, a new one finds room (Choudhury and Hahne, "Dynamic queue length thresholds", 1998); one at least while
/// any is free.
///
/// | most | free | may wait |
/// |---|---|---|
/// | 256 | 65,536 | 256 |
/// | 256 | 400 | 100 |
/// | 256 | 3 | 1 |
/// | 256 | 0 | 0 |
fn most_waiting(most: u32, free: usize) -> u32 {
    let share = u32::try_from(free.div_ceil(4)).unwrap_or(u32::MAX);
    most.min(share)
}

/// Whether one more may be asked for, and until when it is then paid for: one each `interval`, and what two seconds bring
/// at once (the generic cell rate algorithm, ITU-T I.371). All in nanoseconds.
fn admit(paid_until: u64, now: u64, interval: u64) -> Option<u64> {
    (paid_until <= now + BURST).then(|| paid_until.max(now) + interval)
}

/// Two seconds.
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
        assert_eq!(read.mistakes, []);
        Sources::new(&read.settings, now)
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_quarter_of_what_is_free_and_never_more_than_the_bound() {
        let table = [(65_536, 256), (1024, 256), (400, 100), (4, 1), (3, 1), (1, 1), (0, 0)];
        assert!(table.into_iter().all(|(free, expected)| most_waiting(256, free) == expected));
    }

    #[test]
    fn one_source_cannot_take_the_places_of_another() {
        let now = Instant::now();
        let sources = sources(&[("max-misses-per-source", "3")], now);
        let mut held: Vec<_> = (0..3).map(|_| sources.miss(ONE, || 100, now).expect("a place")).collect();
        let refused = Refused { limit: Limit::MissesPerSource, is_told: true };
        assert_eq!(sources.miss(ONE, || 100, now).expect_err("full"), refused);
        assert!(sources.miss(OTHER, || 100, now).is_ok());
        held.pop();
        assert!(sources.miss(ONE, || 100, now).is_ok(), "a place is free again");
    }

    #[test]
    fn when_few_places_are_free_who_has_many_is_refused_and_who_has_none_is_not() {
        let now = Instant::now();
        let sources = sources(&[("max-misses-per-source", "100")], now);
        let _held: Vec<_> = (0..10).map(|_| sources.miss(ONE, || 1000, now).expect("a place")).collect();
        assert!(sources.miss(ONE, || 40, now).is_err());
        assert!(sources.miss(OTHER, || 40, now).is_ok());
    }

    #[test]
    fn a_source_may_ask_for_two_seconds_worth_at_once_and_then_at_its_rate() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        let asks = |count: u32, now| (0..count).filter(|_| sources.miss(ONE, || 1000, now).is_ok()).count();
        assert_eq!(asks(1000, now), 201);
        assert_eq!(asks(1000, now + Duration::from_millis(500)), 50);
        assert_eq!(
            asks(1000, now + Duration::from_secs(60)),
            201,
            "what is not used is not saved up for longer"
        );
        assert!(sources.miss(OTHER, || 1000, now).is_ok());
    }

    #[test]
    fn who_floods_is_told_of_four_refusals_for_each_miss_and_then_of_none() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        let refused: Vec<_> = (0..10_000).filter_map(|_| sources.miss(ONE, || 1000, now).err()).collect();
        assert_eq!(refused.iter().filter(|refused| refused.is_told).count(), 801);
        assert!(refused.iter().all(|refused| refused.limit == Limit::MissRatePerSource));
        let later = now + Duration::from_millis(500);
        let refused = (0..1000).filter_map(|_| sources.miss(ONE, || 1000, later).err());
        assert_eq!(refused.filter(|refused| refused.is_told).count(), 200);
        assert!(sources.is_silenced(ONE, later) && !sources.is_silenced(OTHER, later));
        assert!(!sources.is_silenced(ONE, later + Duration::from_secs(1)));
    }

    #[test]
    fn new_sources_share_what_ten_may_have_and_known_ones_do_not() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        assert!(sources.is_new(ONE, now));
        let asked = |now| (0..10_000).filter(|_| sources.may_ask_as_new(now)).count();
        assert_eq!([asked(now), asked(now + Duration::from_millis(500))], [2001, 500]);
        sources.know(ONE, now);
        assert!(!sources.is_new(ONE, now) && sources.is_new(OTHER, now));
        assert!(!sources.is_new(ONE, now + Duration::from_hours(1)));
        assert!(sources.is_new(ONE, now + Duration::from_secs(3601)));
    }

    #[test]
    fn an_address_that_shares_a_slot_with_a_known_one_is_new() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        sources.know(ONE, now);
        let number = sources.number(ONE);
        let mut others = (0..u32::MAX).map(|bits| IpAddr::from(bits.to_be_bytes()));
        let other = others.find(|other| *other != ONE && sources.number(*other) == number);
        assert!(sources.is_new(other.expect("one in 16,384"), now));
    }

    #[test]
    fn a_source_may_have_as_many_long_answers_as_misses() {
        let now = Instant::now();
        let sources = sources(&[("max-miss-rate-per-source", "100")], now);
        let has = |source| (0..1000).filter(|_| sources.may_have_long_answer(source, now)).count();
        assert_eq!([has(ONE), has(OTHER)], [201, 201]);
    }

    #[test]
    fn in_a_pod_nothing_is_counted() {
        let now = Instant::now();
        let sources = sources(&[], now);
        assert!((0..100_000).all(|_| sources.miss(ONE, || 0, now).is_ok()));
        assert!(!sources.is_new(ONE, now));
        assert!((0..100_000).all(|_| sources.may_have_long_answer(ONE, now)));
        assert!(sources.are_answered(ONE, now) && !sources.are_answered([8, 8, 8, 8].into(), now));
    }

    #[test]
    fn an_ipv4_address_in_the_clothes_of_ipv6_is_the_same_source() {
        let now = Instant::now();
        let sources = sources(&[("max-misses-per-source", "1")], now);
        let _held = sources.miss(ONE, || 100, now).expect("a place");
        assert!(sources.miss("::ffff:10.0.0.1".parse().expect("an address"), || 100, now).is_err());
    }
}
