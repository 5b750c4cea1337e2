//! How many questions a look-up costs the cluster's DNS, without and with the proxy. Pure; a model, not a measurement.
//!
//! It is about [`EXAMPLE`], a name outside the cluster that exists, looked up as A and AAAA by a C library whose caches,
//! and the proxy's, are cold. Nothing is lost and nothing asked again. `tests/tests/estimate.rs` holds the model against the
//! real proxy.

use podlocal_settings::Settings;
use podlocal_settings::value::LocalNxdomain;

use crate::dns::Expansion;

/// The name that the model is about.
pub const EXAMPLE: &str = "api.example.com";

/// A and AAAA.
const TYPES: u64 = 2;

/// What one look-up costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Questions to the cluster's DNS without the proxy.
    pub direct: u64,
    /// With it, at most.
    pub proxied: u64,
}

/// What one cold start of several workloads costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How many pods start; of a workload that has one on each node, one.
    pub pods: u64,
    /// Questions to the cluster's DNS without the proxy.
    pub direct: u64,
    /// With it, at most.
    pub proxied: u64,
    /// With it and a shared tier, when the pods of a workload look the same names up: as one pod of each.
    pub shared: u64,
}

impl Total {
    /// The start of workloads with so many pods each, of which every one looks `names` names up.
    pub fn of(workloads: impl Iterator<Item = (u64, Cost)>, names: u32) -> Self {
        let names = u64::from(names);
        workloads.filter(|(pods, _)| *pods > 0).fold(Self::default(), |total, (pods, cost)| Self {
            pods: total.pods.saturating_add(pods),
            direct: total.direct.saturating_add(pods.saturating_mul(names * cost.direct)),
            proxied: total.proxied.saturating_add(pods.saturating_mul(names * cost.proxied)),
            shared: total.shared.saturating_add(names * cost.proxied),
        })
    }
}

/// What one look-up costs in a pod that expands names by `expansion` today, and whose proxy would be told `settings`.
pub fn cost(expansion: &Expansion, settings: &Settings) -> Cost {
    Cost { direct: direct(expansion), proxied: proxied(settings) }
}

/// Without the proxy (resolv.conf(5), `search` and `ndots`):
///
/// | the name has | it is tried as | questions |
/// |---|---|---|
/// | `ndots` dots or more | itself | 2 |
/// | fewer | every search domain's, then itself | 2 for each |
fn direct(expansion: &Expansion) -> u64 {
    let tried_before = if is_asked_first(expansion.ndots) { 0 } else { expansion.search.len() as u64 };
    TYPES * (tried_before + 1)
}

/// With the proxy, at most; the first line that fits holds for a search domain that is tried before the name itself:
///
/// | the search domain | questions when the client tries it | when the proxy does |
/// |---|---|---|
/// | is outside the cluster domain, or `local-nxdomain` is off | 2 | 1: A decides for AAAA |
/// | `svc.<zone>` | 2: the name could be a pod's (`search`, R4 and R5), so the first type is asked, and its namespace | 1: the namespace, or A |
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
