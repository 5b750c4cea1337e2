//! Which Services are suspected to be missing: one name below each was NXDOMAIN. The next name below it makes us ask
//! about the Service itself, and that answer decides for the whole family; the first one does not, because a headless
//! pod's name has the same shape as an expansion, and is asked for far more often alone.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// The latest suspicions, a fixed number of them.
#[derive(Debug)]
pub struct Suspects {
    hasher: RandomState,
    /// By the hash of the Service's name: that hash, and the hash of the name that was missing.
    slots: Mutex<[(u64, u64); SLOTS]>,
}

/// A pod looks below a few Services; a collision costs one question.
const SLOTS: usize = 64;

impl Default for Suspects {
    /// None yet.
    fn default() -> Self {
        Self { hasher: RandomState::new(), slots: Mutex::new([(0, 0); SLOTS]) }
    }
}

impl Suspects {
    /// Notes that `name`, below `service`, is missing.
    pub fn note(&self, service: &[u8], name: &[u8]) {
        self.with_slot(service, |slot, hash| *slot = (hash, self.hasher.hash_one(name)));
    }

    /// Whether another name than this one was missing below `service`.
    pub fn is_suspect(&self, service: &[u8], name: &[u8]) -> bool {
        let name = self.hasher.hash_one(name);
        self.with_slot(service, |slot, hash| slot.0 == hash && slot.1 != name)
    }

    /// Forgets the suspicion: the Service exists.
    pub fn clear(&self, service: &[u8]) {
        self.with_slot(service, |slot, hash| {
            if slot.0 == hash {
                *slot = (0, 0);
            }
        });
    }

    fn with_slot<T>(&self, service: &[u8], look: impl FnOnce(&mut (u64, u64), u64) -> T) -> T {
        let hash = self.hasher.hash_one(service).max(1);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut slots[hash as usize % SLOTS], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_below_the_same_service_makes_it_suspect() {
        let suspects = Suspects::default();
        suspects.note(b"service", b"name");
        assert!(!suspects.is_suspect(b"service", b"name"), "the same name is no new evidence");
        assert!(suspects.is_suspect(b"service", b"other"));
        assert!(!suspects.is_suspect(b"another", b"other"));
        suspects.clear(b"service");
        assert!(!suspects.is_suspect(b"service", b"other"));
    }
}
