//! Cached failures, so that a question that cannot be answered is not queried for every client (RFC 9520).
//! They never replace a good answer: the cache is looked at first.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use podlocal_dns::key::{Key, StoredKey};
use quick_cache::sync::Cache;

use super::outcome::NoAnswer;
use crate::limits;

/// The questions that failed recently.
#[derive(Debug)]
pub struct Failures {
    recent: Cache<StoredKey, (Instant, NoAnswer)>,
    /// When the last failure happened: mostly long ago, and then none is looked up.
    noted_at: Mutex<Option<Instant>>,
}

impl Default for Failures {
    /// No failures yet.
    fn default() -> Self {
        Self { recent: Cache::new(limits::FAILURES_REMEMBERED), noted_at: Mutex::default() }
    }
}

impl Failures {
    /// Caches a failure.
    pub fn note(&self, key: &Key, failure: NoAnswer, now: Instant) {
        self.recent.insert(key.stored(), (now, failure));
        *self.noted_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether any question failed recently.
    pub fn has_recent(&self, now: Instant) -> bool {
        let noted_at = *self.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
        noted_at.is_some_and(|at| is_recent(at, now))
    }

    /// How the question failed recently, unless the upstream has recovered since: silence is forgotten as soon
    /// as any server of the upstream answers anything.
    pub fn recent(&self, key: &Key, now: Instant, last_response: Option<Instant>) -> Option<NoAnswer> {
        let (at, failure) = self.recent.get(key)?;
        let has_recovered = failure == NoAnswer::Silence && last_response.is_some_and(|last| last > at);
        (is_recent(at, now) && !has_recovered).then_some(failure)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < limits::FAILURE_MEMORY
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_dns::wire::{Flags, Rcode};
    use std::time::Duration;

    #[test]
    fn rfc9520_3_2_a_failure_is_remembered_for_two_seconds() {
        let (failures, now) = (Failures::default(), Instant::now());
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(0), false);
        assert_eq!(failures.recent(&key, now, None), None);
        let refusal = NoAnswer::Refused(Rcode::NOTIMP);
        failures.note(&key, refusal, now);
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        let recent = failures.recent(&key, after(1999), Some(after(1000)));
        assert_eq!(recent, Some(refusal), "another name's answer says nothing");
        assert_eq!(failures.recent(&key, after(2000), None), None);
    }

    #[test]
    fn silence_is_forgotten_when_the_upstream_answers_again() {
        let (failures, now) = (Failures::default(), Instant::now());
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(0), false);
        failures.note(&key, NoAnswer::Silence, now);
        assert_eq!(failures.recent(&key, now, Some(now)), Some(NoAnswer::Silence));
        let later = now + Duration::from_millis(1);
        assert_eq!(failures.recent(&key, later, Some(later)), None);
    }
}
