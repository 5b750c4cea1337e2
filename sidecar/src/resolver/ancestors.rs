//! The names above a name in the cluster domain, whose absence decides about it: its namespace and its
//! Service.
//!
//! The first NXDOMAIN below a namespace starts a query for the namespace. A Service is only suspected then:
//! the name of a headless pod has the same shape as an expansion, and is looked up far more often alone. The
//! next name below the Service starts a query for the Service first, and that answer decides for all names
//! below it.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use podlocal_dns::key::Key;
use podlocal_dns::search::{Ancestors, Verdict};
use podlocal_dns::wire::{TYPE_A, TYPE_AAAA};
use tokio::time::{sleep, timeout};

use super::outcome::Denial;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::limits;
use crate::metrics::{BackgroundQuery, Outcome};
use crate::supervise::lock;
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
            || self.suspects.last_answer(service) == LastAnswer::Exists
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
                self.suspects.note(service, LastAnswer::Unknown);
            }
        }
    }

    /// NXDOMAIN for a name because of an expired NXDOMAIN for its namespace or Service: it counts like an
    /// expired NXDOMAIN of its own.
    pub(super) fn expired_missing_ancestor(&self, key: &Key) -> Option<Entry> {
        let Verdict::Below(ancestors) = self.search.verdict(key) else { return None };
        let above = missing_ancestor(key, ancestors, |key| self.cache.get_expired(key))?;
        let zone_at = self.search.zone_at(key.name())?;
        let denial = Denial { zone_at, ttl: 1, outcome: Outcome::NxdomainCut };
        let is_usable = above.is_usable_stale(now(), self.serve_stale);
        self.denied(key, denial).filter(|_| is_usable)
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
            let exists = |service| self.suspects.note(service, LastAnswer::Exists);
            return ancestors.service.into_iter().for_each(exists);
        }
        if key.type_and_class().0 != TYPE_A {
            return;
        }
        if let Some(service) = ancestors.service {
            self.suspects.note(service, LastAnswer::Missing(self.suspects.hash(key.name())));
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

/// The last answer below each Service, for a fixed number of Services.
#[derive(Debug)]
pub struct SuspectServices {
    hasher: RandomState,
    /// By the hash of the Service's name, which is stored, too.
    slots: Mutex<[(u64, LastAnswer); SLOTS]>,
}

/// The last answer for a name below a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastAnswer {
    /// Not known, or the Service was queried itself since then.
    Unknown,
    /// The name exists.
    Exists,
    /// The name with this hash does not exist.
    Missing(u64),
}

/// A pod looks up names below a few Services; a collision costs one query.
const SLOTS: usize = 64;

impl Default for SuspectServices {
    fn default() -> Self {
        Self { hasher: RandomState::new(), slots: Mutex::new([(0, LastAnswer::Unknown); SLOTS]) }
    }
}

impl SuspectServices {
    fn note(&self, service: &[u8], last: LastAnswer) {
        let hash = self.hash(service);
        lock(&self.slots)[hash as usize % SLOTS] = (hash, last);
    }

    fn last_answer(&self, service: &[u8]) -> LastAnswer {
        let hash = self.hash(service);
        let (own, last) = lock(&self.slots)[hash as usize % SLOTS];
        if own == hash { last } else { LastAnswer::Unknown }
    }

    /// Whether the last name that did not exist below `service` is another one than this.
    fn is_suspect(&self, service: &[u8], name: &[u8]) -> bool {
        matches!(self.last_answer(service), LastAnswer::Missing(other) if other != self.hash(name))
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }
}
