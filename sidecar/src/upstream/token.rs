//! How we know our own questions when they come back to us.
//!
//! Whatever redirects port 53 of a pod (a service mesh's DNS capture, a node-local cache gone wrong) may lead
//! our question to an upstream back to ourselves, where it would wait for its own answer. So each question
//! carries eight random bytes, other ones for each server, in an EDNS option; and a probe carries them in its
//! name, too, for forwarders that drop options. Nobody outside the pod's upstreams sees them.
//!
//! Where one proxy of our kind asks another, that one passes the bytes on behind its own ([`Passed`]), so a loop through several
//! is known by the first that gets its own back:
//!
//! ```text
//!   A asks B with [a]; B asks C with [b, a]; C asks A with [c, b, a]: A knows it, and answers SERVFAIL
//!   A and B are asked at once, and each waits for the other: each gets the other's [b] or [a], and passes it on when it asks again
//!   a forwarder drops the option: the question that comes back joins its own exchange, which asks no more often for it
//! ```

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::DefaultHashBuilder;
use tokio::time::Instant;

use super::random;
use crate::cache::key::Key;
use crate::limits;
use crate::query::{Marker, PROBE_LABEL, Query};
use crate::wire::{self, CLASS_IN, Flags, TYPE_TXT};

/// What marks the questions to one server, as long as this process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(Marker);

impl Token {
    /// A new one, unlike all others.
    pub fn new() -> io::Result<Self> {
        random::bytes().map(Self)
    }

    /// The bytes of the EDNS option.
    pub fn marker(&self) -> &Marker {
        &self.0
    }

    /// Whether that query carries this token: in its option, or in a probe's name.
    pub fn is_on(self, query: &Query<'_>) -> bool {
        query.markers.as_chunks().0.contains(&self.0) || self.is_in_name(query.key.name())
    }

    /// A probe: a name under the zone that nobody has asked for and that no cache knows, so that the server
    /// itself answers; type TXT, which no search list completes and no policy blocks.
    pub fn probe(self, zone: &str) -> io::Result<Key> {
        let fresh: Marker = random::bytes()?;
        let first = hex(&self.0) + &hex(&fresh);
        let name = |zone: &str| wire::name_from_text(&format!("{first}.{PROBE_LABEL}{zone}"));
        // A zone that leaves no room for two labels is left out.
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

/// How many proxies a question may have passed. Two is what is meant: a sidecar and the tier.
const MOST_PASSED: usize = 8;

/// Whether a query has passed so many proxies that it must be in a loop.
pub fn has_passed_too_many(query: &Query<'_>) -> bool {
    query.markers.len() >= MOST_PASSED * size_of::<Marker>()
}

/// The markers of the queries that wait, to be passed on with their questions. By the question alone: who asks with DO, and who
/// as it stands, are in the same loop.
#[derive(Debug, Default)]
pub struct Passed {
    hasher: DefaultHashBuilder,
    by_question: Mutex<Kept>,
    /// How many those are: mostly none, which is known without the lock.
    count: AtomicUsize,
}

/// By the hash of a question: when the query came, and its markers.
type Kept = HashMap<u64, (Instant, Box<[u8]>)>;

/// Of how many questions markers are kept: as many as are under way in a pod. Without, a loop is bounded as one through a
/// forwarder that drops them.
const MOST_KEPT: usize = 1000;

impl Passed {
    /// Keeps the markers of a query until its question has been answered.
    pub fn note(&self, query: &Query<'_>, now: Instant) {
        let mut kept = self.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (since, _)| now.saturating_duration_since(*since) < limits::DEADLINE);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(self.hash(&query.key), (now, query.markers.into()));
        }
        self.count.store(kept.len(), Ordering::Relaxed);
    }

    /// The markers to be passed on with that question.
    pub fn with(&self, key: &Key) -> Box<[u8]> {
        if self.is_empty() {
            return Box::default();
        }
        self.lock().get(&self.hash(key)).map(|(_, markers)| markers.clone()).unwrap_or_default()
    }

    /// The question has been answered, or nobody waits any more.
    pub fn forget(&self, key: &Key) {
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
        // A panic while it is held cannot leave the map half changed.
        self.by_question.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::MARKER_OPTION;
    use crate::upstream::question::Question;

    fn query(key: &Key, with_edns: bool, token: Token) -> Query<'static> {
        let bytes = Question::new(key, token).expect("random").bytes(with_edns);
        Query::parse(bytes.leak()).expect("our own question is a query")
    }

    #[test]
    fn our_own_question_is_known_by_its_option() {
        let (ours, other) = (Token::new().expect("random"), Token::new().expect("random"));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let come_back = query(&key, true, ours);
        assert!(ours.is_on(&come_back) && !other.is_on(&come_back));
        assert!(!ours.is_on(&query(&key, false, ours)), "the option was dropped");
        assert!((65_001..=65_534).contains(&MARKER_OPTION), "RFC 6891 section 9");
    }

    #[test]
    fn markers_are_passed_on_behind_our_own_until_the_answer_and_no_further_than_eight_proxies() {
        let tokens: Vec<_> = (0..10).map(|_| Token::new().expect("random")).collect();
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let mut bytes = Question::new(&key, tokens[0]).expect("random").bytes(true);
        for (number, token) in tokens.iter().enumerate().skip(1) {
            let passed = Passed::default();
            let query = Query::parse(&bytes).expect("a query");
            assert!(tokens[..number].iter().all(|token| token.is_on(&query)) && !token.is_on(&query));
            assert_eq!(has_passed_too_many(&query), number >= MOST_PASSED, "{number}");
            passed.note(&query, Instant::now());
            let next = Question::new(&key, *token).expect("random").passing_on(passed.with(&key)).bytes(true);
            passed.forget(&key);
            assert!(passed.with(&key).is_empty());
            bytes = next;
        }
    }

    #[test]
    fn the_markers_of_a_million_questions_take_bounded_memory() {
        let (passed, now) = (Passed::default(), Instant::now());
        let note = |number: usize, now| {
            let name = wire::name_from_text(&format!("n{number}.example")).expect("a name");
            let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
            passed.note(&query(&key, true, Token::new().expect("random")), now);
        };
        (0..3000).for_each(|number| note(number, now));
        assert_eq!(passed.lock().len(), MOST_KEPT);
        note(3000, now + limits::DEADLINE);
        assert_eq!(passed.lock().len(), 1, "those that nobody waits for any more made room");
    }

    #[test]
    fn a_probe_is_known_by_its_name_when_a_forwarder_drops_the_option() {
        let (ours, other) = (Token::new().expect("random"), Token::new().expect("random"));
        let key = ours.probe("cluster.local").expect("random");
        let come_back = query(&key, false, ours);
        assert!(ours.is_on(&come_back) && !other.is_on(&come_back));
    }

    #[test]
    fn probes_are_fresh_names_under_the_zone_of_type_txt() {
        let token = Token::new().expect("random");
        let [one, two] = [token.probe("cluster.local"), token.probe("cluster.local.")].map(Result::unwrap);
        assert_ne!(one, two);
        for key in [one, two] {
            let name = wire::NameText(key.name()).to_string();
            assert!(name.ends_with(".podlocal-dns-probe.cluster.local."), "{name}");
            assert_eq!(wire::type_and_class(key.question()), (TYPE_TXT, 1));
        }
        let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".");
        let name = wire::NameText(token.probe(&long).expect("random").name()).to_string();
        assert!(name.ends_with(".podlocal-dns-probe."), "{name}");
    }
}
