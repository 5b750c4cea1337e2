//! The readiness of a program: the conditions that are missing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions that are missing for a program to be ready. It is ready when every [`Latch`] is dropped, so
/// an error path cannot report it as ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

/// A condition for being ready; drop it when the condition is met.
#[derive(Debug)]
#[must_use = "dropping it says that the condition is met"]
pub struct Latch {
    readiness: Readiness,
    condition: &'static str,
}

impl Readiness {
    /// Not ready until the latch is dropped.
    pub fn latch(&self, condition: &'static str) -> Latch {
        self.lock().push(condition);
        Latch { readiness: self.clone(), condition }
    }

    /// The body of `/readyz`. `Err` names the missing conditions in alphabetical order, for the status 503.
    pub fn check(&self) -> Result<String, String> {
        let mut missing = self.lock().clone();
        missing.sort_unstable();
        if missing.is_empty() {
            Ok("ok\n".to_owned())
        } else {
            Err(format!("not ready: {}\n", missing.join(", ")))
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        let mut missing = self.readiness.lock();
        if let Some(index) = missing.iter().position(|condition| *condition == self.condition) {
            missing.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_missing_latches_until_all_are_dropped() {
        let readiness = Readiness::default();
        let [first, second, again] =
            ["certificate", "address", "certificate"].map(|name| readiness.latch(name));
        let named = |text: &str| Err(format!("not ready: {text}\n"));
        assert_eq!(readiness.check(), named("address, certificate, certificate"));
        drop(first);
        assert_eq!(readiness.check(), named("address, certificate"));
        drop((second, again));
        assert_eq!(readiness.check(), Ok("ok\n".to_owned()));
    }
}
