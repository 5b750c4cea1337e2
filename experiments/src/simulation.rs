//! The gang experiment in virtual time, for gangs that are too large for one machine, with the upstream
//! policy of the sidecar ([`podlocal_dns::upstream`]).
//!
//! ```text
//!   plan     an arm -> the queries that a pod sends for its three names, step by step; pure
//!   stub     glibc's stub resolver in one pod: answers and time-outs -> the next queries; pure
//!   proxy    sidecar, tier: the policy, or a fixed schedule
//!   server   CoreDNS under a CPU limit, a replica of the tier; pure
//!   gang     the simulated gang, and its outcome
//!   model    processes events in order of time -> an outcome
//!   measured the measurements on a real cluster
//!   report   outcomes -> table and charts
//! ```
//!
//! # How well it fits
//!
//! `measured` has the measurements on a real cluster, and a test compares them with the simulation at each
//! CPU limit. Neither has failures, the queries agree within a fifth, and the time of the pods (p99) within a
//! factor of two, except for the time behind the tier. Two numbers are fitted to the direct arm: the CPU time
//! of a query, 103 us, and the CPU time that a limited CoreDNS loses in each period, 380 us.
//!
//! Without a limit, and behind the tier, the pods wait for their machine and not for CoreDNS; there the
//! simulation is too fast (0.1 s instead of 0.4 s). Near the knee it is too favourable for the old sidecars:
//! a real CoreDNS mostly keeps the order of queries, but delays a few much more than their neighbours.
//! Therefore the tests check the law with both orders.
//!
//! **Not simulated:** a cache on each node such as NodeLocal DNSCache. In a model of it no lookup failed,
//! while with the real one 80 to 160 of 240 lookups failed. Also not simulated: the CPU time of pods and
//! nodes; the tier's limits, and its work for waiting clients; CoreDNS's liveness probe and restart; more
//! than one socket of cluster DNS. Nor are conntrack, lost TCP segments, a network that is slower under load,
//! queries of a sidecar beyond the plan, and the restart of a gang after a failure.

pub mod gang;
#[cfg(test)]
mod measured;
pub mod model;
pub mod plan;
mod proxy;
pub mod report;
pub mod server;
mod stub;

use crate::gang::arm::Arm as Plan;

/// The DNS configuration of the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Unchanged pods: `ndots:5`, queries go directly to cluster DNS.
    Direct,
    /// The same with `ndots:2`.
    Ndots2,
    /// Through sidecars of the first design, which hedge, probe, and give up after 4 s.
    OldSidecars,
    /// Through sidecars.
    Sidecars,
    /// Through sidecars and the shared tier.
    Tier,
    /// Through sidecars that send each query once and wait without limit: the reference for the other arms.
    Once,
}

impl Arm {
    /// All arms, in the order in which they run and are printed.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Ndots2, Self::OldSidecars, Self::Sidecars, Self::Tier, Self::Once];

    /// Its name in tables and charts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, ndots:5",
            Self::Ndots2 => "direct, ndots:2",
            Self::OldSidecars => "sidecars with hedges and probes",
            Self::Sidecars => "sidecars",
            Self::Tier => "sidecars and shared tier",
            Self::Once => "each question once",
        }
    }

    fn plan(self) -> Plan {
        match self {
            Self::Direct => Plan::Direct,
            Self::Ndots2 => Plan::Ndots2,
            Self::OldSidecars | Self::Sidecars | Self::Tier | Self::Once => Plan::Injected,
        }
    }
}

#[cfg(test)]
mod tests;
