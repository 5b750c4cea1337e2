//! What stands above a name in the cluster domain, and decides for it: its namespace and its Service.
//!
//! A namespace is asked about behind the first NXDOMAIN below it. A Service is only suspected then: a headless pod's name
//! has the same shape as an expansion, and is asked for far more often alone. The next name below it makes us ask about
//! the Service first, and that answer decides for all.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{sleep, timeout};

use super::question::Known;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{BackgroundQuery, Outcome};
use crate::search::{Family, Verdict};
use crate::upstream::Upstream;
use crate::wire::{TYPE_A, TYPE_AAAA};

impl<U: Upstream> Resolver<U> {
    /// What a question about AAAA waits for: the answer to A, where its NXDOMAIN would answer both and is likely. Two labels
    /// and more below a namespace are mostly an expansion, unless another name below that Service exists. A client that
    /// asks for both sends them together, in any order.
    pub(super) fn address_first(
        self: &Arc<Self>,
        key: &Key,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let Verdict::Below(Family { service: Some(service), .. }) = self.search.verdict(key) else {
            return None;
        };
        let address = key.with_type(TYPE_A);
        if key.type_and_class().0 != TYPE_AAAA
            || self.patience.waits_for(key.name())
            || self.suspects.is_known(service)
            || self.known(&address).is_some()
        {
            return None;
        }
        let (resolver, under_way) = (Arc::clone(self), self.route(&address).questions.under_way(&address));
        Some(Box::pin(async move {
            let flight = if under_way.is_some() {
                under_way
            } else {
                sleep(limits::SIBLING_ARRIVES).await;
                resolver.route(&address).questions.under_way(&address)
            };
            if let Some(flight) = flight {
                let _ = timeout(limits::SIBLING_WAIT, flight).await; // or ask, too
            }
        }))
    }

    /// Asks about the namespace or Service above a name first, where that is under way or promises more.
    pub(super) async fn ask_above(self: &Arc<Self>, key: &Key, family: Family<'_>) {
        if let Some(namespace) = family.namespace
            && let Some(probe) = self.route(key).questions.under_way(&above(key, namespace))
        {
            probe.await;
        }
        if let Some(service) = family.service
            && self.suspects.is_suspect(service, key.name())
        {
            let probe = above(key, service);
            self.metrics.background_query(BackgroundQuery::ParentProbe);
            if self.nested_question(probe).await.is_ok_and(|entry| !entry.is_nxdomain()) {
                self.suspects.clear(service);
            }
        }
    }

    /// That a name does not exist because what stands above it was missing: as good as an expired NXDOMAIN of its own.
    pub(super) fn expired_below(&self, key: &Key) -> Option<Entry> {
        let Verdict::Below(family) = self.search.verdict(key) else { return None };
        let above = missing_above(key, family, |key| self.cache.get_expired(key))?;
        let zone_at = self.search.zone_at(key.name())?;
        let missing = Known::Missing { zone_at, ttl: 1, outcome: Outcome::NxdomainCut };
        let is_usable = above.is_usable_stale(now(), self.serve_stale);
        self.as_entry(key, missing).ok().filter(|_| is_usable)
    }

    /// Draws the conclusion from the absence of a name below a namespace or Service of which nothing is known.
    pub(super) fn learn(self: &Arc<Self>, key: &Key, entry: &Entry) {
        let Verdict::Below(family) = self.search.verdict(key) else { return };
        if !entry.is_missing_name() {
            return family.service.into_iter().for_each(|service| self.suspects.note_known(service));
        }
        if key.type_and_class().0 != TYPE_A {
            return;
        }
        if let Some(service) = family.service {
            self.suspects.note(service, key.name());
        }
        if let Some(namespace) = family.namespace {
            let probe = above(key, namespace);
            if self.known(&probe).is_none() && self.route(&probe).questions.under_way(&probe).is_none() {
                self.metrics.background_query(BackgroundQuery::ParentProbe);
                tokio::spawn(self.nested_question(probe));
            }
        }
    }
}

/// That the namespace or Service above a name is missing, as `get` knows it.
pub(super) fn missing_above(
    key: &Key,
    Family { namespace, service }: Family<'_>,
    get: impl Fn(&Key) -> Option<Entry>,
) -> Option<Entry> {
    let missing = |name: &[u8]| get(&key.with_name(name).for_every_type());
    namespace.and_then(missing).or_else(|| service.and_then(missing))
}

/// The question that shows whether a name above another exists.
pub(super) fn above(key: &Key, name: &[u8]) -> Key {
    key.with_name(name).with_type(TYPE_A)
}

/// What was last seen below Services, for a fixed number of them.
#[derive(Debug)]
pub struct Suspects {
    hasher: RandomState,
    /// By the hash of the Service's name: that hash, and the hash of the name that was missing, or [`KNOWN`].
    slots: Mutex<[(u64, u64); SLOTS]>,
}

/// In place of the name that was missing: one exists.
const KNOWN: u64 = 0;

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
        self.with_slot(service, |slot, hash| *slot = (hash, self.hash(name)));
    }

    /// Notes that a name below `service` exists.
    pub fn note_known(&self, service: &[u8]) {
        self.with_slot(service, |slot, hash| *slot = (hash, KNOWN));
    }

    /// Whether the last name that was asked for below `service` exists.
    pub fn is_known(&self, service: &[u8]) -> bool {
        self.with_slot(service, |slot, hash| *slot == (hash, KNOWN))
    }

    /// Whether another name than this one was missing below `service`.
    pub fn is_suspect(&self, service: &[u8], name: &[u8]) -> bool {
        let name = self.hash(name);
        self.with_slot(service, |slot, hash| slot.0 == hash && ![name, KNOWN].contains(&slot.1))
    }

    /// Forgets the suspicion: the Service exists.
    pub fn clear(&self, service: &[u8]) {
        self.with_slot(service, |slot, hash| {
            if slot.0 == hash {
                *slot = (0, 0);
            }
        });
    }

    /// Never [`KNOWN`], nor what an empty slot has.
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
    fn another_name_below_the_same_service_makes_it_suspect() {
        let suspects = Suspects::default();
        suspects.note(b"service", b"name");
        assert!(!suspects.is_suspect(b"service", b"name"), "the same name is no new evidence");
        assert!(suspects.is_suspect(b"service", b"other"));
        assert!(!suspects.is_suspect(b"another", b"other"));
        suspects.clear(b"service");
        assert!(!suspects.is_suspect(b"service", b"other"));
        suspects.note(b"service", b"name");
        suspects.note_known(b"service");
        assert!(suspects.is_known(b"service") && !suspects.is_suspect(b"service", b"other"));
        assert!(!suspects.is_known(b"another"), "nothing is known of a Service that nobody asked about");
    }
}
