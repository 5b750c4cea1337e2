//! Names that are worth waiting for: the peers of a gang, which appear one after another.

use std::time::Duration;

use podlocal_settings::Settings;
use tokio::time::sleep;

use super::question::NoAnswer;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::BackgroundQuery;
use crate::search;
use crate::upstream::Upstream;
use crate::wire;
use crate::wire::end_at;

impl<U: Upstream> Resolver<U> {
    /// Holds the absence of a patient name back and asks again, until it is there or the patience is over.
    pub(super) async fn wait_for(&self, key: &Key, mut entry: Entry) -> Result<Entry, NoAnswer> {
        let start = now();
        let [mut pause, longest_pause] = limits::PATIENT_PAUSES;
        while self.is_absent(key, &entry).await {
            // The upstream's word: an older answer must not be given instead while we wait.
            self.cache.remove(key);
            if now() + pause >= start + self.patience.longest.min(limits::DEADLINE) {
                entry = entry.shortened(limits::PATIENT_NEGATIVE_SECONDS);
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest_pause);
            // A cluster DNS that is slow is not asked more often for it.
            if self.upstream(key).may_ask_again() {
                self.metrics.background_query(BackgroundQuery::Wait);
                entry = self.ask(key).await.unwrap_or(entry);
            }
        }
        Ok(entry)
    }

    /// Whether the name is not there yet. A name that has an address of the other type is there: in a cluster of one
    /// family every AAAA, or every A, is empty.
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
pub struct Patience {
    names: Vec<Vec<u8>>,
    /// What may stand behind a label, from `*.<suffix>`.
    suffixes: Vec<Vec<u8>>,
    zone: Vec<u8>,
    /// How long a look-up is held.
    pub longest: Duration,
}

impl Patience {
    /// What the settings say. A pattern that does not end in the cluster domain is relative to the pod's namespace;
    /// one that ends in `.svc` to the cluster domain.
    pub fn new(settings: &Settings) -> Self {
        let zone = wire::zone_from_text(&settings.cluster_domain);
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
        let patterns = &settings.wait_for_names;
        Self {
            names: patterns
                .iter()
                .filter(|text| !text.starts_with("*."))
                .filter_map(|text| whole(text))
                .collect(),
            suffixes: patterns.iter().filter_map(|text| text.strip_prefix("*.")).filter_map(whole).collect(),
            zone,
            longest: settings.wait_timeout,
        }
    }

    /// Whether a look-up of that name, on the wire and in lower case, is held while there is no such name.
    pub fn waits_for(&self, name: &[u8]) -> bool {
        (!self.names.is_empty() || !self.suffixes.is_empty())
            && end_at(name, &self.zone).is_some()
            && (self.names.iter().any(|own| own == name)
                || self.suffixes.iter().any(|suffix| end_at(name, suffix).is_some_and(|at| at > 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(patterns: &[&str]) -> Patience {
        let mut settings = Settings::defaults();
        settings.namespace = Some("web".to_owned());
        settings.wait_for_names = patterns.iter().map(|&text| text.to_owned()).collect();
        Patience::new(&settings)
    }

    fn waits(patience: &Patience, name: &str) -> bool {
        patience.waits_for(&wire::name_from_text(name).expect("a name"))
    }

    #[test]
    fn a_pattern_is_relative_to_the_pods_namespace_unless_it_says_more() {
        let patience = patience(&["*.workers", "head.ps", "*.kafka.data.svc", "*.db.prod.svc.cluster.local"]);
        for name in ["rank-0.workers.web", "a.b.workers.web", "head.ps.web", "k-0.kafka.data", "x.db.prod"] {
            assert!(waits(&patience, &format!("{name}.svc.cluster.local")), "{name}");
        }
        for name in ["workers.web", "rank-0.workers.prod", "rank-0.myworkers.web", "x.head.ps.web"] {
            assert!(!waits(&patience, &format!("{name}.svc.cluster.local")), "{name}");
        }
    }

    #[test]
    fn names_outside_the_cluster_domain_are_never_waited_for() {
        assert!(!waits(&patience(&["*.example.com"]), "www.example.com"));
        assert!(!waits(&patience(&[]), "rank-0.workers.web.svc.cluster.local"));
    }
}
