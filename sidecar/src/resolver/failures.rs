//! Failures that are remembered, so that a question that cannot be answered is not asked at every turn
//! (RFC 9520). They never stand in the way of a good answer: those are in the cache, and looked for first.

use std::time::Instant;

use quick_cache::sync::Cache;

use crate::cache::key::{Key, StoredKey};
use crate::limits;

/// What failed lately.
#[derive(Debug)]
pub struct Failures {
    recent: Cache<StoredKey, (Instant, Failure)>,
}

/// How a question failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered. Forgotten as soon as anybody answers anything.
    Silence,
    /// A server said that it cannot answer.
    Refusal,
}

impl Default for Failures {
    /// None yet.
    fn default() -> Self {
        Self { recent: Cache::new(limits::FAILURES_REMEMBERED) }
    }
}

impl Failures {
    /// Remembers one.
    pub fn note(&self, key: &Key, failure: Failure, now: Instant) {
        self.recent.insert(key.stored(), (now, failure));
    }

    /// Whether the question failed lately, and nothing speaks for another outcome now.
    pub fn is_recent(&self, key: &Key, now: Instant, last_response: Option<Instant>) -> bool {
        self.recent.get(key).is_some_and(|(at, failure)| {
            let has_recovered = failure == Failure::Silence && last_response.is_some_and(|last| last > at);
            now.saturating_duration_since(at) < limits::FAILURE_MEMORY && !has_recovered
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Flags;
    use std::time::Duration;

    #[test]
    fn rfc9520_3_2_a_failure_is_remembered_for_two_seconds() {
        let (failures, now) = (Failures::default(), Instant::now());
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(0), false);
        assert!(!failures.is_recent(&key, now, None));
        failures.note(&key, Failure::Refusal, now);
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert!(
            failures.is_recent(&key, after(1999), Some(after(1000))),
            "another name's answer says nothing"
        );
        assert!(!failures.is_recent(&key, after(2000), None));
    }

    #[test]
    fn silence_is_forgotten_when_the_upstream_answers_again() {
        let (failures, now) = (Failures::default(), Instant::now());
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(0), false);
        failures.note(&key, Failure::Silence, now);
        assert!(failures.is_recent(&key, now, Some(now)));
        let later = now + Duration::from_millis(1);
        assert!(!failures.is_recent(&key, later, Some(later)));
    }
}
