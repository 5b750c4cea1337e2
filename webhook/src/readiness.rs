//! The readiness of the program: the names of the tasks that are not ready yet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The names of the tasks that are not ready yet; the program is ready if there are none.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

/// Held by a task until it is ready, then dropped. So readiness cannot be set wrongly.
#[derive(Debug)]
#[must_use = "dropping it says that the thing is there"]
pub struct Latch {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Adds `name` to the missing tasks, until the latch is dropped.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.with(|missing| missing.insert(name));
        Latch { name, readiness: self.clone() }
    }

    /// The names of the missing tasks, in alphabetical order.
    pub fn missing(&self) -> Vec<&'static str> {
        self.with(|missing| missing.iter().copied().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<&'static str>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.readiness.with(|missing| missing.remove(self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_missing_latches_until_all_are_dropped() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.latch("certificate"), readiness.latch("address"));
        assert_eq!(readiness.missing(), ["address", "certificate"]);
        drop(first);
        assert_eq!(readiness.missing(), ["address"]);
        drop(second);
        assert!(readiness.missing().is_empty());
    }
}
