//! Estimates how many queries a lookup sends to cluster DNS, without and with the sidecar. Pure; a model, not
//! a measurement.
//!
//! The model is the lookup of [`EXAMPLE`], an existing outside name, as A and AAAA by a C library, with cold
//! caches. No query is lost or retransmitted. `tests/estimate.rs` compares the model with the real
//! sidecar.

use podlocal_dns::expansion;
use podlocal_dns::key::Key;
use podlocal_dns::search::{Search, Verdict};
use podlocal_dns::wire::{self, CLASS_IN, Flags, TYPE_A};
use podlocal_settings::Settings;

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
    let candidates = expansion::candidates(EXAMPLE, &expansion.search, expansion.ndots.into());
    let tried_before = candidates.iter().take_while(|name| name.trim_end_matches('.') != EXAMPLE);
    TYPES * (tried_before.count() as u64 + 1)
}

/// The cost with the sidecar, at most, by the rules of the sidecar ([`podlocal_dns::search`]). For a search
/// domain that is tried before the name itself:
///
/// | the name below it | queries if the client expands the name | if the sidecar does |
/// |---|---|---|
/// | may exist, or `local-nxdomain` is off | 2 | 1: the answer for A decides for AAAA |
/// | may exist in a namespace that must exist, too (R4 and R5) | 2: the first type, and the namespace | 1: the namespace, or A |
/// | cannot exist (R1 to R3) | 0 | 0 |
///
/// The name itself: 2.
fn proxied(settings: &Settings) -> u64 {
    let search = Search::new(settings);
    let key = |name: &[u8]| Key::new(&wire::question(name, TYPE_A, CLASS_IN), Flags(Flags::RD), false);
    let Some(example) = wire::name_from_text(EXAMPLE) else { return 0 };
    let candidates = search.search_names(EXAMPLE);
    let by_client = candidates.iter().take_while(|name| **name != example);
    let by_client =
        by_client.filter(|name| !matches!(search.verdict(&key(name)), Verdict::Impossible(_))).count();
    let is_completed = search.verdict(&key(&example)) == Verdict::Complete;
    let by_sidecar = if is_completed { search.candidates(&example).len() } else { 0 };
    TYPES * by_client as u64 + by_sidecar as u64 + TYPES
}

#[cfg(test)]
mod tests {
    use podlocal_settings::value::LocalNxdomain;

    use super::*;

    const USUAL: [&str; 3] = ["web.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    const OF_A_NODE: [&str; 4] =
        ["web.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

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
            (&["pod.cluster.local"], 5, Full, 4),
            (&["dev.svc.cluster.local"], 5, Full, 2),
        ] {
            let search = domains.iter().map(|domain| (*domain).to_owned()).collect();
            let settings = Settings { ndots, search: Some(search), local_nxdomain, ..Settings::defaults() };
            assert_eq!(proxied(&settings), expected, "{domains:?} ndots:{ndots} {local_nxdomain:?}");
        }
    }
}
