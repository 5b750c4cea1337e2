//! How the proxy recognizes its own queries when they come back.
//!
//! Some components redirect port 53 of a pod: the DNS capture of a service mesh, a broken node-local cache.
//! They may lead a query to an upstream back to the proxy, where it would wait for its own answer. So each
//! query carries eight random bytes in an EDNS option, different ones for each server. A probe carries them
//! in its name, too, for forwarders that drop options. Only the pod's upstreams see them.
//!
//! When a PodLocal DNS proxy sends a query to another one, that one passes the bytes on behind its own
//! ([`ForwardedMarkers`]). So in a loop of several proxies, the first one that receives its own marker
//! detects the loop:
//!
//! ```text
//!   A queries B with [a]; B queries C with [b, a]; C queries A with [c, b, a]: A detects the loop, and answers SERVFAIL
//!   A and B are queried at once, and wait for each other: each receives the other's [b] or [a], and passes it on with its next query
//!   a forwarder drops the option: the query that comes back is coalesced with its own exchange, which sends no more queries for it
//! ```

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use podlocal_dns::key::Key;
use podlocal_dns::wire::{self, CLASS_IN, Flags, TYPE_TXT};
use quick_cache::DefaultHashBuilder;
use tokio::time::Instant;

use super::random;
use crate::limits;
use crate::query::{Marker, PROBE_LABEL, Query};
use crate::supervise::lock;

/// The marker of the queries to one server, for the lifetime of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopMarker(Marker);

impl LoopMarker {
    /// A new random marker.
    pub fn new() -> io::Result<Self> {
        random::bytes().map(Self)
    }

    /// The data of the EDNS option.
    pub fn bytes(&self) -> &Marker {
        &self.0
    }

    /// Whether that query carries this marker: in its option, or in a probe's name.
    pub fn marks(self, query: &Query<'_>) -> bool {
        query.markers.as_chunks().0.contains(&self.0) || self.is_in_name(query.key.name())
    }

    /// The question of a probe: a name in the cluster domain that no client has asked for and that no cache
    /// knows, so that the server itself answers. No search list expands its type, TXT, and no policy blocks
    /// it.
    pub fn probe(self, zone: &str) -> io::Result<Key> {
        let fresh: Marker = random::bytes()?;
        let first = hex(&self.0) + &hex(&fresh);
        let name = |zone: &str| wire::name_from_text(&format!("{first}.{PROBE_LABEL}{zone}"));
        // A cluster domain that leaves no room for two labels is left out.
        let name = name(&format!(".{zone}")).or_else(|| name("")).unwrap_or_default();
        Ok(Key::new(&wire::question(&name, TYPE_TXT, CLASS_IN), Flags(Flags::RD), false))
    }

    fn is_in_name(self, name: &[u8]) -> bool {
        let mut labels = wire::labels(name).map(|(label, _)| label);
        let first = labels.next();
        labels.next() == Some(PROBE_LABEL.as_bytes())
            && first.is_some_and(|label| label.starts_with(hex(&self.0).as_bytes()))
    }
}

/// How many proxies a query may have passed. The expected number is two: a sidecar and the tier.
const MAX_PROXIES: usize = 8;

/// Whether a query has passed so many proxies that it must be in a loop.
pub fn has_passed_too_many_proxies(query: &Query<'_>) -> bool {
    query.markers.len() >= MAX_PROXIES * size_of::<Marker>()
}

/// The markers of the queries that wait, to be passed on with the sidecar's own queries. They are kept by
/// question alone: queries that differ in DO or in the search expansion are in the same loop.
#[derive(Debug, Default)]
pub struct ForwardedMarkers {
    hasher: DefaultHashBuilder,
    by_question: Mutex<Kept>,
    /// Their number: mostly zero, which is known without the lock.
    count: AtomicUsize,
}

/// By the hash of a question: when the query arrived, and its markers.
type Kept = HashMap<u64, (Instant, Box<[u8]>)>;

/// For how many questions markers are kept: as many as are in flight in a pod. A loop of queries beyond that
/// is limited like one through a forwarder that drops the markers.
const MAX_QUESTIONS_KEPT: usize = 1000;

impl ForwardedMarkers {
    /// Keeps the markers of a query until its question has been answered.
    pub fn insert(&self, query: &Query<'_>, now: Instant) {
        let mut kept = self.lock();
        if kept.len() >= MAX_QUESTIONS_KEPT {
            kept.retain(|_, (since, _)| now.saturating_duration_since(*since) < limits::DEADLINE);
        }
        if kept.len() < MAX_QUESTIONS_KEPT {
            kept.insert(self.hash(&query.key), (now, query.markers.into()));
        }
        self.count.store(kept.len(), Ordering::Relaxed);
    }

    /// The markers to pass on with that question.
    pub fn get(&self, key: &Key) -> Box<[u8]> {
        if self.is_empty() {
            return Box::default();
        }
        self.lock().get(&self.hash(key)).map(|(_, markers)| markers.clone()).unwrap_or_default()
    }

    /// Forgets the markers of a question that has been answered or has failed.
    pub fn remove(&self, key: &Key) {
        if self.is_empty() {
            return;
        }
        let mut kept = self.lock();
        kept.remove(&self.hash(key));
        self.count.store(kept.len(), Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key.question())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.by_question)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::query_message::QueryMessage;

    #[test]
    fn markers_of_up_to_eight_proxies_are_passed_on() {
        let markers: Vec<_> = (0..10).map(|_| LoopMarker::new().expect("random")).collect();
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let mut bytes = QueryMessage::new(markers[0], true).expect("random").bytes(&key);
        for (number, marker) in markers.iter().enumerate().skip(1) {
            let passed = ForwardedMarkers::default();
            let query = Query::parse(&bytes).expect("a query");
            assert!(markers[..number].iter().all(|marker| marker.marks(&query)) && !marker.marks(&query));
            assert_eq!(has_passed_too_many_proxies(&query), number >= MAX_PROXIES, "{number}");
            passed.insert(&query, Instant::now());
            let mut next = QueryMessage::new(*marker, true).expect("random");
            next.forwarded = passed.get(&key);
            bytes = next.bytes(&key);
            passed.remove(&key);
            assert!(passed.get(&key).is_empty());
        }
    }

    #[test]
    fn the_markers_of_a_million_questions_take_bounded_memory() {
        let (passed, now) = (ForwardedMarkers::default(), Instant::now());
        let note = |number: usize, now| {
            let name = wire::name_from_text(&format!("n{number}.example")).expect("a name");
            let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
            let message = QueryMessage::new(LoopMarker::new().expect("random"), true).expect("random");
            passed.insert(&Query::parse(&message.bytes(&key)).expect("a query"), now);
        };
        (0..3000).for_each(|number| note(number, now));
        assert_eq!(passed.lock().len(), MAX_QUESTIONS_KEPT);
        note(3000, now + limits::DEADLINE);
        assert_eq!(passed.lock().len(), 1, "expired markers made room");
    }

    #[test]
    fn probes_are_new_txt_names_in_the_cluster_domain() {
        let marker = LoopMarker::new().expect("random");
        let [one, two] = [marker.probe("cluster.local"), marker.probe("cluster.local.")].map(Result::unwrap);
        assert_ne!(one, two);
        for key in [one, two] {
            let name = wire::NameText(key.name()).to_string();
            assert!(name.ends_with(".podlocal-dns-probe.cluster.local."), "{name}");
            assert_eq!(wire::type_and_class(key.question()), (TYPE_TXT, 1));
        }
        let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".");
        let name = wire::NameText(marker.probe(&long).expect("random").name()).to_string();
        assert!(name.ends_with(".podlocal-dns-probe."), "{name}");
    }
}
