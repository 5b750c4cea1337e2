//! The state of a question at one moment, for `lookup`. It looks at the same places as [`Resolver::try_hit`],
//! in the same order; it counts nothing and sends no query.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::report::CachedFor;
use podlocal_dns::search::rule::Rule;
use podlocal_dns::search::{Ancestors, Candidate, First, Verdict};
use podlocal_dns::wire::NameText;

use super::Resolver;
use super::ancestors::ancestor_question;
use crate::cache::entry::Entry;
use crate::upstream::Upstream;

/// The state of a question.
#[derive(Debug, Clone)]
pub struct QuestionStatus {
    /// The answer that a query would get immediately.
    pub found: Option<Found>,
    /// An expired answer, which may be served while the upstream fails.
    pub expired: Option<Entry>,
    /// What the rules say about it, as one line.
    pub reasoning: String,
    /// Whether a query for it is in flight.
    pub is_in_flight: bool,
    /// Whether a query failed a moment ago, so that no query is sent yet.
    pub has_failed_lately: bool,
    /// Whether all servers for it are known to fail or to be silent.
    pub is_upstream_down: bool,
    /// The forward zone of its name, if any.
    pub forward_zone: Option<String>,
}

impl QuestionStatus {
    /// Whether the name is known to exist, with or without records of this type.
    pub fn exists(&self) -> bool {
        matches!(&self.found, Some(Found::Cached(entry, _)) if !entry.is_nxdomain())
    }
}

/// An answer without a query.
#[derive(Debug, Clone)]
pub enum Found {
    /// A cached answer.
    Cached(Entry, CachedFor),
    /// A rule says that the name does not exist.
    Ruled(Rule),
}

impl<U: Upstream> Resolver<U> {
    /// The state of that question now.
    pub fn question_status(&self, key: &Key, now: Instant) -> QuestionStatus {
        let found = self.found(key, now);
        let is_upstream_down = self.upstream(key).condition().is_down;
        QuestionStatus {
            expired: if found.is_none() { self.stale(key, is_upstream_down) } else { None },
            found,
            reasoning: self.search.reasoning(key),
            is_in_flight: self.is_in_flight(key),
            has_failed_lately: self.recent_failure(key, now).is_some(),
            is_upstream_down,
            forward_zone: self.forward_zone(key),
        }
    }

    /// The forward zone of a question's name, as text.
    pub fn forward_zone(&self, key: &Key) -> Option<String> {
        self.routes.forward_zone(key.name()).map(|zone| NameText(zone).to_string())
    }

    /// The questions on which the answer to one may depend: itself, its candidates from the search list, and
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
                    First::Address => above_them.push(ancestor_question(key, &name)),
                    First::Namespace(namespace) => above_them.push(ancestor_question(key, &namespace)),
                }
            }
        }
        for key in &keys {
            if let Verdict::Below(Ancestors { namespace, service }) = self.search.verdict(key) {
                above_them.extend(
                    [namespace, service].into_iter().flatten().map(|name| ancestor_question(key, name)),
                );
            }
        }
        keys.append(&mut above_them);
        keys
    }

    /// The state of the candidates of a question, up to the first that exists; none where the sidecar does
    /// not try the search list, or did not.
    pub fn walked(&self, key: &Key, now: Instant) -> Vec<(Key, QuestionStatus)> {
        let Some(entry) = self.cache.get(key, now) else { return Vec::new() };
        let is_tried = self.search.verdict(key) == Verdict::Complete
            && (self.routes.forward_zone(key.name()).is_none()
                || entry.is_nxdomain()
                || entry.is_from_search_list());
        if !is_tried {
            return Vec::new();
        }
        let mut walked = Vec::new();
        for name in self.search.expansions(key.name()) {
            let candidate = key.with_name(&name);
            let status = self.question_status(&candidate, now);
            let is_last = status.exists();
            walked.push((candidate, status));
            if is_last {
                break;
            }
        }
        walked
    }

    fn found(&self, key: &Key, now: Instant) -> Option<Found> {
        let verdict = self.search.verdict(key);
        if let Some(entry) = self.cache.get(key, now) {
            let is_expanded = entry.is_from_search_list();
            let place = if is_expanded { CachedFor::SearchList } else { CachedFor::Question };
            return Some(Found::Cached(entry, place));
        }
        match verdict {
            Verdict::Probe => Some(Found::Ruled(Rule::Probe)),
            verdict => match self.shared_missing(key, now) {
                Some(entry) => Some(Found::Cached(entry, CachedFor::EveryType)),
                None => self
                    .decide_by_rules(key, verdict, now)
                    .map(|_| Found::Ruled(self.deciding_rule(key, verdict, now))),
            },
        }
    }

    fn deciding_rule(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Rule {
        let namespace = match verdict {
            Verdict::Impossible(rule) => return rule,
            Verdict::Below(ancestors) => ancestors.namespace,
            Verdict::Ask | Verdict::Probe | Verdict::Complete => None,
        };
        let is_missing = |name| self.cache.get(&key.with_name(name).for_every_type(), now).is_some();
        if namespace.is_some_and(is_missing) { Rule::R5 } else { Rule::R4 }
    }
}
