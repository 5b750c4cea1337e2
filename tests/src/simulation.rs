//! The gang experiment in virtual time, for gangs that no one machine can run, with the upstream policy that the sidecar
//! has ([`podlocal_dns::upstream`]).
//!
//! ```text
//!   plan     an arm -> the questions that leave a pod for its three names, step by step; pure
//!   stub     glibc's stub resolver in one pod: answers and time-outs -> what it sends next; pure
//!   proxy    sidecar, tier: the policy, or a fixed schedule
//!   server   CoreDNS under a CPU limit, a replica of the tier; pure
//!   gang     what is simulated, and what came of it
//!   model    events in order of time -> an outcome
//!   measured what the real cluster did
//!   report   outcomes -> table and charts
//! ```
//!
//! # How well it fits
//!
//! `measured` holds what the real cluster did, and a test compares: no failure in either, the queries within a fifth, the time of
//! the pods (p99) within a factor of two, at each CPU limit; but for the time behind the tier. Two numbers are fitted, to the direct arm: the CPU time of a query,
//! 103 us, and what a limited CoreDNS loses in each period, 380 us.
//!
//! Without a limit, and behind the tier, the machine of the pods is what they wait for, and not CoreDNS: there the simulation is
//! too quick (0.1 s, really 0.4 s). It is too kind to the old sidecars near the knee: a real CoreDNS, in order by and large, delays a few queries
//! much more than their neighbours. The tests therefore hold the law in both orders.
//!
//! **Left out:** a cache on each node, as NodeLocal DNSCache is: a model of it failed nobody, while the real one failed 80 to 160
//! of 240 lookups; the CPU time of pods and nodes; the tier's bounds, and its work for those that wait; CoreDNS's liveness
//! probe and restart; more than one socket of cluster DNS; conntrack; lost TCP segments; a network that is slower under load;
//! what a sidecar asks about more than the plan says; the restart of a gang after a failure.

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

/// How the pods resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// As they are: `ndots:5`, straight to cluster DNS.
    Direct,
    /// The same with `ndots:2`.
    Ndots2,
    /// Through sidecars that hedge, probe, and give up after 4 s, as they were first built.
    OldSidecars,
    /// Through sidecars.
    Sidecars,
    /// Through sidecars and the shared tier.
    Tier,
    /// Through sidecars that ask each question once and wait for ever: what the others are held against.
    Once,
}

impl Arm {
    /// The arms, in the order in which they are run and printed.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Ndots2, Self::OldSidecars, Self::Sidecars, Self::Tier, Self::Once];

    /// What people call it.
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
