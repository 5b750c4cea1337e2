//! Estimates how many queries a lookup sends to cluster DNS, without and with the sidecar. Pure; a model, not
//! a measurement.
//!
//! The model is the lookup of [`EXAMPLE`], an existing outside name, as A and AAAA by a C library, with cold
//! caches. No query is lost or retransmitted. `tests/tests/estimate.rs` compares the model with the real
//! sidecar.

use podlocal_settings::Settings;
use podlocal_settings::value::LocalNxdomain;

use crate::review::dns::Expansion;

/// The name in the model.
pub const EXAMPLE: &str = "api.example.com";

/// A and AAAA.
const TYPES: u64 = 2;

/// The cost of one lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Queries to cluster DNS without the sidecar.
    pub direct: u64,
    /// The same with the sidecar, at most.
    pub proxied: u64,
}

/// The cost of one cold start of several workloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// The number of pods that start; a workload with one pod on each node counts as one pod.
    pub(crate) pods: u64,
    /// Queries to cluster DNS without the sidecar.
    pub(crate) direct: u64,
    /// The same with the sidecar, at most.
    pub(crate) proxied: u64,
    /// The same with the sidecar and a shared tier, if the pods of a workload look up the same names: the
    /// cost of one pod of each.
    pub(crate) shared: u64,
}

impl Total {
    /// The cold start of workloads with these numbers of pods, of which each looks up `names` names.
    pub(crate) fn of(workloads: impl Iterator<Item = (u64, Cost)>, names: u32) -> Self {
        let names = u64::from(names);
        workloads.filter(|(pods, _)| *pods > 0).fold(Self::default(), |total, (pods, cost)| Self {
            pods: total.pods.saturating_add(pods),
            direct: total.direct.saturating_add(pods.saturating_mul(names * cost.direct)),
            proxied: total.proxied.saturating_add(pods.saturating_mul(names * cost.proxied)),
            shared: total.shared.saturating_add(names * cost.proxied),
        })
    }
}

/// The cost of one lookup in a pod with `expansion` without the sidecar, and with a sidecar with `settings`.
pub fn cost(expansion: &Expansion, settings: &Settings) -> Cost {
    Cost { direct: direct(expansion), proxied: proxied(settings) }
}

/// The cost without the sidecar (resolv.conf(5), `search` and `ndots`):
///
/// | the name has | it is tried as | queries |
/// |---|---|---|
/// | `ndots` dots or more | itself | 2 |
/// | fewer | every search domain's, then itself | 2 for each |
fn direct(expansion: &Expansion) -> u64 {
    let tried_before = if is_asked_first(expansion.ndots) { 0 } else { expansion.search.len() as u64 };
    TYPES * (tried_before + 1)
}

/// The cost with the sidecar, at most. The first matching line applies to a search domain that is tried
/// before the name itself:
///
/// | the search domain | queries if the client expands the name | if the sidecar does |
/// |---|---|---|
/// | is outside the cluster domain, or `local-nxdomain` is off | 2 | 1: the answer for A decides for AAAA |
/// | `svc.<zone>` | 2: the name could belong to a pod (`search`, R4 and R5), so the first type and its namespace are queried | 1: the namespace, or A |
/// | any other in the cluster domain | 0: no such name can exist (R1 to R3) | 0 |
///
/// The name itself: 2.
fn proxied(settings: &Settings) -> u64 {
    let zone = &settings.cluster_domain;
    let of_domain = |domain: &String| {
        let is_inside = domain == zone || domain.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
        let may_exist = *domain == format!("svc.{zone}");
        u64::from(!is_inside || may_exist || settings.local_nxdomain == LocalNxdomain::Off)
    };
    let (questions, domains) = match (is_asked_first(settings.ndots), is_asked_first(settings.original_ndots))
    {
        (false, _) => (TYPES, settings.search_list()),
        (true, false) => (1, settings.completion_list()),
        (true, true) => (0, Vec::new()),
    };
    questions * domains.iter().map(of_domain).sum::<u64>() + TYPES
}

fn is_asked_first(ndots: u8) -> bool {
    EXAMPLE.bytes().filter(|byte| *byte == b'.').count() >= usize::from(ndots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(domains: &[&str]) -> Vec<String> {
        domains.iter().map(|domain| (*domain).to_owned()).collect()
    }

    const USUAL: [&str; 3] = ["web.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    const OF_A_NODE: [&str; 4] =
        ["web.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

    #[test]
    fn without_the_sidecar_every_search_domain_is_tried_below_ndots() {
        for (domains, ndots, expected) in [
            (&USUAL[..], 5, 8),
            (&USUAL, 3, 8),
            (&USUAL, 2, 2),
            (&OF_A_NODE, 5, 10),
            (&OF_A_NODE, 1, 2),
            (&[], 5, 2),
        ] {
            let expansion = Expansion { search: search(domains), ndots };
            assert_eq!(direct(&expansion), expected, "{domains:?} ndots:{ndots}");
        }
    }

    #[test]
    fn total_multiplies_pods_and_names_and_tier_counts_workloads() {
        let (usual, tuned) = (Cost { direct: 8, proxied: 2 }, Cost { direct: 2, proxied: 2 });
        let total = Total::of([(100, usual), (10, tuned), (0, usual)].into_iter(), 3);
        assert_eq!(total, Total { pods: 110, direct: 2400 + 60, proxied: 600 + 60, shared: 12 });
    }

    #[test]
    fn with_the_sidecar_only_possible_names_are_queried() {
        use LocalNxdomain::{Full, Impossible, Off};
        for (domains, ndots, local_nxdomain, expected) in [
            (&USUAL[..], 2, Full, 3),
            (&USUAL, 2, Impossible, 3),
            (&USUAL, 2, Off, 5),
            (&USUAL, 5, Full, 4),
            (&USUAL, 5, Impossible, 4),
            (&USUAL, 5, Off, 8),
            (&OF_A_NODE, 2, Full, 3),
            (&OF_A_NODE, 5, Full, 6),
            (&["corp.example"], 5, Full, 4),
            (&["notcluster.local"], 5, Full, 4),
        ] {
            let settings =
                Settings { ndots, search: Some(search(domains)), local_nxdomain, ..Settings::defaults() };
            assert_eq!(proxied(&settings), expected, "{domains:?} ndots:{ndots} {local_nxdomain:?}");
        }
    }
}
