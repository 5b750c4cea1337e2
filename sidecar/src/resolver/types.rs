//! How many questions about one name are under way, of types that hardly anybody asks for.
//!
//! Each question under way is a chance for somebody who forges answers, and whoever may ask can make him as many as there are types.
//!
//! | type | at a time, for one name |
//! |---|---|
//! | A, AAAA | as many as clients ask: one for each set of flags, since all who ask alike share one |
//! | all others | [`MOST`]; above: SERVFAIL, counted |
//!
//! Addresses are no part of it, so that a flood of other types keeps nobody from them. There is no bound for a zone: the cluster's
//! names are all in one, so it would be one for everybody.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::key::Key;
use crate::wire::{CLASS_IN, TYPE_A, TYPE_AAAA};

/// Clients ask for four types together, two of which are addresses: A, AAAA, HTTPS, SRV. Some ask with DO, some without.
const MOST: u8 = 8;

/// The names of the questions under way.
#[derive(Debug, Default)]
pub struct Types {
    hasher: RandomState,
    /// By the hash of a name: two that share one share the bound.
    under_way: Mutex<HashMap<u64, u8>>,
}

/// The place of one question, until it is dropped.
#[derive(Debug)]
pub struct Place(Option<(Arc<Types>, u64)>);

impl Types {
    /// A place for the question, unless there are too many of its name.
    pub fn enter(self: &Arc<Self>, key: &Key) -> Option<Place> {
        if matches!(key.type_and_class(), (TYPE_A | TYPE_AAAA, CLASS_IN)) {
            return Some(Place(None));
        }
        let name = self.hasher.hash_one(key.name());
        let mut under_way = self.lock();
        let count = under_way.entry(name).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        drop(under_way);
        Some(Place(Some((Arc::clone(self), name))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u8>> {
        // A panic while it is held cannot leave the map half changed.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((types, name)) = self.0.take() else { return };
        let mut under_way = types.lock();
        if let Some(count) = under_way.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, name_from_text, question};

    #[test]
    fn other_types_of_one_name_are_bounded_and_addresses_and_other_names_are_not() {
        let types = Arc::new(Types::default());
        let key = |name: &str, rtype| {
            Key::new(&question(&name_from_text(name).expect("a name"), rtype, 1), Flags(Flags::RD), false)
        };
        let mut places: Vec<_> =
            (0..MOST).map(|number| types.enter(&key("a.example", 256 + u16::from(number)))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(types.enter(&key("A.example", 16)).is_none(), "the same name, however it is spelled");
        assert!(types.enter(&key("a.example", 65)).is_none());
        for address in [TYPE_A, TYPE_AAAA] {
            assert!(types.enter(&key("a.example", address)).is_some());
        }
        assert!(types.enter(&key("b.example", 16)).is_some());
        places.pop();
        assert!(types.enter(&key("a.example", 16)).is_some());
        places.clear();
        assert!(types.lock().is_empty(), "nothing is left of what is over");
    }
}
