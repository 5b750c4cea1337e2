//! Cached failures, so that a question that cannot be answered is not queried for every client (RFC 9520).
//! They never replace a good answer: the cache is looked at first.

use std::sync::Mutex;
use std::time::Instant;

use podlocal_dns::key::{Key, StoredKey};
use quick_cache::sync::Cache;

use super::outcome::NoAnswer;
use crate::limits;
use crate::supervise::lock;

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
        *lock(&self.noted_at) = Some(now);
    }

    /// Whether any question failed recently.
    pub fn has_recent(&self, now: Instant) -> bool {
        let noted_at = *lock(&self.noted_at);
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
