//! The limit on queries in flight for one name, of rarely used types.
//!
//! Each query in flight is a chance for an attacker who forges answers, and any client can make as many as
//! there are types.
//!
//! | type | limit at a time, for one name |
//! |---|---|
//! | A, AAAA | none: there is one query for each set of flags, because clients with equal questions share one |
//! | all others | [`MAX_PER_NAME`]; above: SERVFAIL, counted |
//!
//! Addresses do not count, so that a flood of other types blocks no address query. There is no limit for a
//! zone: all names of the cluster are in one zone, so all clients would share it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use podlocal_dns::key::Key;
use podlocal_dns::wire::{CLASS_IN, TYPE_A, TYPE_AAAA};

use crate::supervise::lock;
/// Clients ask for four types together, two of which are addresses: A, AAAA, HTTPS, SRV. Some set DO, some do
/// not.
const MAX_PER_NAME: u8 = 8;

/// The names of the queries in flight.
#[derive(Debug, Default)]
pub struct TypesInFlight {
    hasher: RandomState,
    /// By the hash of a name; two names with the same hash share the limit.
    in_flight: Mutex<HashMap<u64, u8>>,
}

/// A permit for one query in flight; dropping it frees the place.
#[derive(Debug)]
pub struct TypePermit(Option<(Arc<TypesInFlight>, u64)>);

impl TypesInFlight {
    /// A permit for the query, unless there are too many of its name.
    pub fn enter(self: &Arc<Self>, key: &Key) -> Option<TypePermit> {
        if matches!(key.type_and_class(), (TYPE_A | TYPE_AAAA, CLASS_IN)) {
            return Some(TypePermit(None));
        }
        let name = self.hasher.hash_one(key.name());
        let mut in_flight = lock(&self.in_flight);
        let count = in_flight.entry(name).or_default();
        if *count >= MAX_PER_NAME {
            return None;
        }
        *count += 1;
        drop(in_flight);
        Some(TypePermit(Some((Arc::clone(self), name))))
    }
}

impl Drop for TypePermit {
    fn drop(&mut self) {
        let Some((types, name)) = self.0.take() else { return };
        let mut in_flight = lock(&types.in_flight);
        if let Some(count) = in_flight.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_dns::wire::{Flags, name_from_text, question};

    #[test]
    fn only_other_types_of_one_name_are_limited() {
        let types = Arc::new(TypesInFlight::default());
        let key = |name: &str, rtype| {
            Key::new(&question(&name_from_text(name).expect("a name"), rtype, 1), Flags(Flags::RD), false)
        };
        let mut places: Vec<_> =
            (0..MAX_PER_NAME).map(|number| types.enter(&key("a.example", 256 + u16::from(number)))).collect();
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
        assert!(lock(&types.in_flight).is_empty(), "nothing is left of what is over");
    }
}
