//! The names above a name in the cluster domain, whose absence decides about it: its namespace and its
//! Service.
//!
//! The first NXDOMAIN below a namespace starts a query for the namespace. A Service is only suspected then:
//! the name of a headless pod has the same shape as an expansion, and is looked up far more often alone. The
//! next name below the Service starts a query for the Service first, and that answer decides for all names
//! below it.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use podlocal_dns::key::Key;
use podlocal_dns::search::{Ancestors, Verdict};
use podlocal_dns::wire::{TYPE_A, TYPE_AAAA};
use tokio::time::{sleep, timeout};

use super::outcome::Known;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::limits;
use crate::metrics::{BackgroundQuery, Outcome};
use crate::upstream::Upstream;

impl<U: Upstream> Resolver<U> {
    /// The wait of an AAAA query for the answer to A, where NXDOMAIN to A would answer both and is likely.
    /// Two labels and more below a namespace are mostly an expansion, unless another name below that Service
    /// exists. A client that sends both queries sends them together, in any order.
    pub(super) fn wait_for_address_answer(
        self: &Arc<Self>,
        key: &Key,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let Verdict::Below(Ancestors { service: Some(service), .. }) = self.search.verdict(key) else {
            return None;
        };
        let address = key.with_type(TYPE_A);
        if key.type_and_class().0 != TYPE_AAAA
            || self.awaited_names.contains(key.name())
            || self.suspects.is_existing(service)
            || self.look_up_known(&address).is_some()
        {
            return None;
        }
        let (resolver, flight) = (Arc::clone(self), self.route(&address).questions.end_of(&address));
        Some(Box::pin(async move {
            let flight = if flight.is_some() {
                flight
            } else {
                sleep(limits::SIBLING_ARRIVAL_WAIT).await;
                resolver.route(&address).questions.end_of(&address)
            };
            if let Some(flight) = flight {
                let _ = timeout(limits::SIBLING_ANSWER_WAIT, flight).await; // after that, query AAAA as well
            }
        }))
    }

    /// Waits for the query for the namespace above a name, if one is in flight, and queries a suspect Service
    /// first.
    pub(super) async fn ask_ancestors_first(self: &Arc<Self>, key: &Key, ancestors: Ancestors<'_>) {
        if let Some(namespace) = ancestors.namespace
            && let Some(probe) = self.route(key).questions.end_of(&ancestor_question(key, namespace))
        {
            probe.await;
        }
        if let Some(service) = ancestors.service
            && self.suspects.is_suspect(service, key.name())
        {
            let probe = ancestor_question(key, service);
            self.metrics.background_queries.inc(BackgroundQuery::ParentProbe);
            if self.ask_nested(probe).await.is_ok_and(|entry| !entry.is_nxdomain()) {
                self.suspects.clear(service);
            }
        }
    }

    /// NXDOMAIN for a name because of an expired NXDOMAIN for its namespace or Service: it counts like an
    /// expired NXDOMAIN of its own.
    pub(super) fn expired_missing_ancestor(&self, key: &Key) -> Option<Entry> {
        let Verdict::Below(ancestors) = self.search.verdict(key) else { return None };
        let above = missing_ancestor(key, ancestors, |key| self.cache.get_expired(key))?;
        let zone_at = self.search.zone_at(key.name())?;
        let missing = Known::Missing { zone_at, ttl: 1, outcome: Outcome::NxdomainCut };
        let is_usable = above.is_usable_stale(now(), self.serve_stale);
        self.known_entry(key, missing).ok().filter(|_| is_usable)
    }

    /// Whether [`Self::ask_ancestors_first`] has something to do.
    pub(super) fn must_ask_ancestors_first(&self, key: &Key, ancestors: Ancestors<'_>) -> bool {
        let Ancestors { namespace, service } = ancestors;
        let questions = &self.route(key).questions;
        namespace.is_some_and(|namespace| questions.is_in_flight(&ancestor_question(key, namespace)))
            || service.is_some_and(|service| self.suspects.is_suspect(service, key.name()))
    }

    /// Learns from an answer for a name below a namespace or Service about which nothing is known.
    pub(super) fn learn_from(self: &Arc<Self>, key: &Key, entry: &Entry) {
        let Verdict::Below(ancestors) = self.search.verdict(key) else { return };
        if !entry.is_missing_name() {
            return ancestors.service.into_iter().for_each(|service| self.suspects.note_existing(service));
        }
        if key.type_and_class().0 != TYPE_A {
            return;
        }
        if let Some(service) = ancestors.service {
            self.suspects.note_missing(service, key.name());
        }
        if let Some(namespace) = ancestors.namespace {
            let probe = ancestor_question(key, namespace);
            if self.look_up_known(&probe).is_none() && !self.route(&probe).questions.is_in_flight(&probe) {
                self.metrics.background_queries.inc(BackgroundQuery::ParentProbe);
                tokio::spawn(self.ask_nested(probe));
            }
        }
    }
}

/// The NXDOMAIN for the namespace or Service above a name, if `get` has it.
pub(super) fn missing_ancestor(
    key: &Key,
    Ancestors { namespace, service }: Ancestors<'_>,
    get: impl Fn(&Key) -> Option<Entry>,
) -> Option<Entry> {
    let missing = |name: &[u8]| get(&key.with_name(name).for_every_type());
    namespace.and_then(missing).or_else(|| service.and_then(missing))
}

/// The question whose answer says whether a name above another exists.
pub(super) fn ancestor_question(key: &Key, name: &[u8]) -> Key {
    key.with_name(name).with_type(TYPE_A)
}

/// The last observation below each Service, for a fixed number of Services.
#[derive(Debug)]
pub struct SuspectServices {
    hasher: RandomState,
    /// By the hash of the Service's name: that hash, and the hash of the name that did not exist, or
    /// [`EXISTING`].
    slots: Mutex<[(u64, u64); SLOTS]>,
}

/// In place of the hash of a name that did not exist: a name exists.
const EXISTING: u64 = 0;

/// A pod looks up names below a few Services; a collision costs one query.
const SLOTS: usize = 64;

impl Default for SuspectServices {
    /// No observations yet.
    fn default() -> Self {
        Self { hasher: RandomState::new(), slots: Mutex::new([(0, 0); SLOTS]) }
    }
}

impl SuspectServices {
    /// Notes that `name`, below `service`, does not exist.
    pub fn note_missing(&self, service: &[u8], name: &[u8]) {
        self.with_slot(service, |slot, hash| *slot = (hash, self.hash(name)));
    }

    /// Notes that a name below `service` exists.
    pub fn note_existing(&self, service: &[u8]) {
        self.with_slot(service, |slot, hash| *slot = (hash, EXISTING));
    }

    /// Whether the last queried name below `service` exists.
    pub fn is_existing(&self, service: &[u8]) -> bool {
        self.with_slot(service, |slot, hash| *slot == (hash, EXISTING))
    }

    /// Whether the last name that did not exist below `service` is another one than this.
    pub fn is_suspect(&self, service: &[u8], name: &[u8]) -> bool {
        let name = self.hash(name);
        self.with_slot(service, |slot, hash| slot.0 == hash && ![name, EXISTING].contains(&slot.1))
    }

    /// Clears the suspicion: the Service exists.
    pub fn clear(&self, service: &[u8]) {
        self.with_slot(service, |slot, hash| {
            if slot.0 == hash {
                *slot = (0, 0);
            }
        });
    }

    /// Never [`EXISTING`], nor the value of an empty slot.
    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name).max(1)
    }

    fn with_slot<T>(&self, service: &[u8], look: impl FnOnce(&mut (u64, u64), u64) -> T) -> T {
        let hash = self.hash(service);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut slots[hash as usize % SLOTS], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_missing_name_makes_the_service_suspect() {
        let suspects = SuspectServices::default();
        suspects.note_missing(b"service", b"name");
        assert!(!suspects.is_suspect(b"service", b"name"), "the same name is no new evidence");
        assert!(suspects.is_suspect(b"service", b"other"));
        assert!(!suspects.is_suspect(b"another", b"other"));
        suspects.clear(b"service");
        assert!(!suspects.is_suspect(b"service", b"other"));
        suspects.note_missing(b"service", b"name");
        suspects.note_existing(b"service");
        assert!(suspects.is_existing(b"service") && !suspects.is_suspect(b"service", b"other"));
        assert!(!suspects.is_existing(b"another"), "nothing is known of a Service that nobody asked about");
    }
}
