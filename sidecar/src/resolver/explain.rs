//! What is known of a question at one moment, and where it stands: for people. The same places as [`Resolver::hit`] looks
//! at, in the same order; nothing is counted and nothing asked.

use std::time::Instant;

use hickory_proto::op::Message as Decoded;
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::BinDecodable;

use super::Resolver;
use super::families::above;
use super::question::Known;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::search::rule::Rule;
use crate::search::{Candidate, Family, First, Verdict};
use crate::upstream::Upstream;
use crate::wire::NameText;

/// What is known of a question.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What a query would be answered with at once.
    pub found: Option<Found>,
    /// An answer whose life is over, which may be given while the upstream fails.
    pub expired: Option<Entry>,
    /// What the rules say of it, as one line.
    pub reasoning: String,
    /// Whether it is being asked for already.
    pub is_under_way: bool,
    /// Whether asking failed a moment ago, so that nobody asks again yet.
    pub has_failed_lately: bool,
    /// Whether all servers that are asked for it are known to fail or to be silent.
    pub is_upstream_down: bool,
    /// The forward zone that it belongs to, if it does.
    pub forward_zone: Option<String>,
}

impl Standing {
    /// Whether the name is known to exist, with or without records of this type.
    pub fn exists(&self) -> bool {
        matches!(&self.found, Some(Found::Cached(entry, _)) if !entry.is_nxdomain())
    }
}

/// An answer that needs no question.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is in the cache.
    Cached(Entry, Place),
    /// A rule says that there is no such name.
    Ruled(Rule),
}

/// Under which key an answer is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its own.
    Question,
    /// That of every type of the name: there is no such name.
    EveryType,
    /// That of what the search list made of it.
    SearchList,
}

impl<U: Upstream> Resolver<U> {
    /// What is known of that question now.
    pub fn standing(&self, key: &Key, now: Instant) -> Standing {
        let found = self.found(key, now);
        let is_upstream_down = self.upstream(key).condition().is_down;
        Standing {
            expired: if found.is_none() { self.stale(key, is_upstream_down) } else { None },
            found,
            reasoning: self.search.reasoning(key),
            is_under_way: self.is_being_asked(key),
            has_failed_lately: self.has_failed_lately(key),
            is_upstream_down,
            forward_zone: self.forward_zone(key),
        }
    }

    /// The forward zone that a question belongs to, as people write it.
    pub fn forward_zone(&self, key: &Key) -> Option<String> {
        self.routes.forward_zone(key.name()).map(|zone| NameText(zone).to_string())
    }

    /// The questions that the answer to one may depend on: itself, what the search list makes of it, and those about
    /// the namespaces and Services above these.
    pub fn related(&self, key: &Key) -> Vec<Key> {
        let mut keys = vec![key.clone()];
        let mut above_them = Vec::new();
        if self.search.verdict(key) == Verdict::Complete {
            keys.push(key.as_is());
            for Candidate { name, first } in self.search.candidates(key.name()) {
                keys.push(key.with_name(&name));
                match first {
                    First::Own => {}
                    First::Address => above_them.push(above(key, &name)),
                    First::Namespace(namespace) => above_them.push(above(key, &namespace)),
                }
            }
        }
        for key in &keys {
            if let Verdict::Below(Family { namespace, service }) = self.search.verdict(key) {
                above_them.extend([namespace, service].into_iter().flatten().map(|name| above(key, name)));
            }
        }
        keys.append(&mut above_them);
        keys
    }

    /// What is known now of the names that the search list makes of a question, up to the first that exists; none where
    /// the list is not tried here, or was not.
    pub fn walked(&self, key: &Key, now: Instant) -> Vec<(Key, Standing)> {
        let Some(entry) = self.cache.get(key, now) else { return Vec::new() };
        let is_tried = self.search.verdict(key) == Verdict::Complete
            && (self.routes.forward_zone(key.name()).is_none()
                || entry.is_nxdomain()
                || self.is_expansion(key, &entry, now));
        if !is_tried {
            return Vec::new();
        }
        let mut walked = Vec::new();
        for name in self.search.expansions(key.name()) {
            let candidate = key.with_name(&name);
            let standing = self.standing(&candidate, now);
            let is_last = standing.exists();
            walked.push((candidate, standing));
            if is_last {
                break;
            }
        }
        walked
    }

    fn found(&self, key: &Key, now: Instant) -> Option<Found> {
        let verdict = self.search.verdict(key);
        if let Some(entry) = self.cache.get(key, now) {
            let is_alias = verdict == Verdict::Complete && self.is_expansion(key, &entry, now);
            return Some(Found::Cached(entry, if is_alias { Place::SearchList } else { Place::Question }));
        }
        match verdict {
            Verdict::Probe => Some(Found::Ruled(Rule::Probe)),
            verdict => match self.implied(key, verdict, now)? {
                Known::Entry(entry) => Some(Found::Cached(entry, Place::EveryType)),
                Known::Missing { .. } => Some(Found::Ruled(self.ruled_by(key, verdict, now))),
            },
        }
    }

    /// Whether that answer is what the search list made of the question: an alias of a name that it gives, or that such a name
    /// exists without a record of this type.
    fn is_expansion(&self, key: &Key, entry: &Entry, now: Instant) -> bool {
        if !entry.is_positive() {
            let exists = |entry: Entry| !entry.is_nxdomain();
            let mut names = self.search.expansions(key.name());
            return !entry.is_nxdomain()
                && names.any(|name| self.cache.get(&key.with_name(&name), now).is_some_and(exists));
        }
        let Ok(answer) = Decoded::from_vec(&entry.aged(now)) else { return false };
        let Some(RData::CNAME(target)) = answer.answers.first().map(|record| &record.data) else {
            return false;
        };
        let is_target = |name: Vec<u8>| Name::from_bytes(&name).is_ok_and(|name| name == target.0);
        self.search.expansions(key.name()).any(is_target)
    }

    fn ruled_by(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Rule {
        let Verdict::Below(Family { namespace, .. }) = verdict else {
            return self.search.impossible_by(key.name());
        };
        let is_missing = |name| self.cache.get(&key.with_name(name).for_every_type(), now).is_some();
        if namespace.is_some_and(is_missing) { Rule::R5 } else { Rule::R4 }
    }
}
