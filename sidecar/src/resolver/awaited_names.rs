//! Names that are worth waiting for: the peers of a gang, which appear one after another.

use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::search;
use podlocal_dns::wire;
use podlocal_dns::wire::end_at;
use podlocal_settings::Settings;
use tokio::time::sleep;

use super::outcome::NoAnswer;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::limits;
use crate::metrics::BackgroundQuery;
use crate::upstream::Upstream;

impl<U: Upstream> Resolver<U> {
    /// Delays the negative answer for an awaited name and repeats the query, until the name exists or the
    /// wait is over.
    pub(super) async fn wait_for_name(&self, key: &Key, mut entry: Entry) -> Result<Entry, NoAnswer> {
        let start = now();
        let [mut pause, longest_pause] = limits::AWAITED_NAME_PAUSES;
        while self.is_absent(key, &entry).await {
            // The upstream's answer is newer: an older one must not be served while the client waits.
            self.cache.remove(key);
            if now() + pause >= start + self.awaited_names.max_wait.min(limits::DEADLINE) {
                let (begin, most) = (entry.stored_at(), limits::AWAITED_NAME_NEGATIVE_SECONDS);
                return if entry.seconds() > most {
                    self.negative(key, &entry, most, begin)
                } else {
                    Ok(entry)
                };
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest_pause);
            // A slow cluster DNS gets no additional queries.
            if self.upstream(key).try_spend_token() {
                self.metrics.background_queries.inc(BackgroundQuery::Wait);
                entry = self.ask(key).await.unwrap_or(entry);
            }
        }
        Ok(entry)
    }

    /// Whether the name does not exist yet. A name with an address of the other type exists: in a cluster
    /// with one address family every AAAA, or every A, is empty.
    async fn is_absent(&self, key: &Key, entry: &Entry) -> bool {
        if entry.is_positive() || entry.is_nxdomain() {
            return !entry.is_positive();
        }
        let Some(sibling) = search::sibling(key) else { return false };
        if self.cache.get(&sibling, now()).is_some_and(|entry| entry.is_positive()) {
            return false;
        }
        match self.ask(&sibling).await {
            Ok(entry) if entry.is_positive() => {
                self.remember(&sibling, &entry);
                false
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

/// The patterns of `wait-for-names`, and how long one is waited for.
#[derive(Debug)]
pub struct AwaitedNames {
    /// Names, and the domains of the patterns `*.<domain>`: whether it is a domain, and it on the wire.
    patterns: Vec<(bool, Vec<u8>)>,
    zone: Vec<u8>,
    /// How long a lookup waits at most.
    pub max_wait: Duration,
}

impl AwaitedNames {
    /// The patterns of the settings. A pattern that does not end in the cluster domain is relative to the
    /// pod's namespace; one that ends in `.svc` to the cluster domain.
    pub fn new(settings: &Settings) -> Self {
        let zone = wire::zone(&settings.cluster_domain);
        let whole = |pattern: &str| {
            let is_below =
                |domain: &str| pattern.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            let text = if is_below(&settings.cluster_domain) {
                pattern.to_owned()
            } else if is_below("svc") {
                format!("{pattern}.{}", settings.cluster_domain)
            } else {
                let namespace = settings.namespace.as_deref().unwrap_or("default");
                format!("{pattern}.{namespace}.svc.{}", settings.cluster_domain)
            };
            wire::name_from_text(&text)
        };
        let pattern = |text: &String| {
            let domain = text.strip_prefix("*.");
            Some((domain.is_some(), whole(domain.unwrap_or(text))?))
        };
        let patterns = settings.wait_for_names.iter().filter_map(pattern).collect();
        Self { patterns, zone, max_wait: settings.wait_timeout }
    }

    /// Whether a lookup of that name, on the wire and in lower case, waits while the name does not exist.
    pub fn contains(&self, name: &[u8]) -> bool {
        let fits =
            |(is_domain, own): &(bool, Vec<u8>)| end_at(name, own).is_some_and(|at| *is_domain == (at > 0));
        !self.patterns.is_empty() && end_at(name, &self.zone).is_some() && self.patterns.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited_names(patterns: &[&str]) -> AwaitedNames {
        let mut settings = Settings::defaults();
        settings.namespace = Some("web".to_owned());
        settings.wait_for_names = patterns.iter().map(|&text| text.to_owned()).collect();
        AwaitedNames::new(&settings)
    }

    fn waits(names: &AwaitedNames, name: &str) -> bool {
        names.contains(&wire::name_from_text(name).expect("a name"))
    }

    #[test]
    fn a_pattern_is_relative_to_the_pods_namespace_unless_it_says_more() {
        let names =
            awaited_names(&["*.workers", "head.ps", "*.kafka.data.svc", "*.db.prod.svc.cluster.local"]);
        for name in ["rank-0.workers.web", "a.b.workers.web", "head.ps.web", "k-0.kafka.data", "x.db.prod"] {
            assert!(waits(&names, &format!("{name}.svc.cluster.local")), "{name}");
        }
        for name in ["workers.web", "rank-0.workers.prod", "rank-0.myworkers.web", "x.head.ps.web"] {
            assert!(!waits(&names, &format!("{name}.svc.cluster.local")), "{name}");
        }
    }

    #[test]
    fn names_outside_the_cluster_domain_are_never_waited_for() {
        assert!(!waits(&awaited_names(&["*.example.com"]), "www.example.com"));
        assert!(!waits(&awaited_names(&[]), "rank-0.workers.web.svc.cluster.local"));
    }
}
