//! The gang experiment in virtual time, for gangs that are too large for one machine, with the upstream
//! policy of the sidecar ([`podlocal_dns::upstream`]).
//!
//! ```text
//!   gang     the simulated gang, and its outcome
//!   plan     an arm -> the queries that a pod sends for its three names, step by step; pure
//!   time     tasks in virtual time
//!   stub     glibc's stub resolver in one pod
//!   server   CoreDNS under a CPU limit, a replica of the tier: when it answers; pure
//!   model    the pods and the network between them: a gang -> an outcome
//!     proxy    a sidecar, a replica of the tier: exchanges, with the policy
//!   report   outcomes -> table and charts
//! ```
//!
//! # How well it fits
//!
//! A test compares the simulation with measurements on a real cluster at each CPU limit. Neither has
//! failures, the queries agree within a fifth, and the time of the pods (p99) within a factor of two, except
//! for the time behind the tier. Two numbers are fitted to the direct arm: the CPU time
//! of a query, 103 us, and the CPU time that a limited CoreDNS loses in each period, 380 us.
//!
//! Without a limit, and behind the tier, the pods wait for their machine and not for CoreDNS; there the
//! simulation is too fast (0.1 s instead of 0.4 s). A real CoreDNS mostly keeps the order of queries, but
//! delays a few much more than their neighbours. Therefore the tests check the law with both orders.
//!
//! **Not simulated:** a cache on each node such as NodeLocal DNSCache. In a model of it no lookup failed,
//! while with the real one 80 to 160 of 240 lookups failed. Also not simulated: the CPU time of pods and
//! nodes; the tier's limits, and its work for waiting clients; CoreDNS's liveness probe and restart; more
//! than one socket of cluster DNS. Nor are conntrack, lost TCP segments, a network that is slower under load,
//! queries of a sidecar beyond the plan, and the restart of a gang after a failure.

pub mod gang;
pub mod model;
pub mod plan;
pub mod report;
pub mod server;
mod stub;
mod time;

/// The DNS configuration of the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Unchanged pods: `ndots:5`, queries go directly to cluster DNS.
    Direct,
    /// The same with `ndots:2`.
    Ndots2,
    /// Through sidecars.
    Sidecars,
    /// Through sidecars and the shared tier.
    Tier,
    /// Through sidecars that send each query once and wait without limit: the reference for the other arms.
    Once,
}

impl Arm {
    /// All arms, in the order in which they run and are printed.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Ndots2, Self::Sidecars, Self::Tier, Self::Once];

    /// Its name in tables and charts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, ndots:5",
            Self::Ndots2 => "direct, ndots:2",
            Self::Sidecars => "sidecars",
            Self::Tier => "sidecars and shared tier",
            Self::Once => "each question once",
        }
    }

    fn has_sidecars(self) -> bool {
        !matches!(self, Self::Direct | Self::Ndots2)
    }
}

#[cfg(test)]
mod tests;
