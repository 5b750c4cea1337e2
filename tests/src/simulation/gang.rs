//! What is simulated, and what came of it.

use std::time::Duration;

use super::Arm;
use super::server::Capacity;
use super::stub::Stub;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Gang {
    /// How the pods resolve.
    pub arm: Arm,
    /// How many.
    pub pods: usize,
    /// How many share a node, and in one shape of the tier its replica.
    pub pods_per_node: usize,
    /// Over how long a time they send their first question.
    pub spread: Duration,
    /// Cluster DNS.
    pub cluster_dns: Capacity,
    /// Each replica of the shared tier, in the arm that has one.
    pub tier: Capacity,
    /// How many there are; 0: one on each node, for the pods of that node.
    pub tier_replicas: usize,
    /// The share of datagrams that is lost on the way, in each direction.
    pub loss: f64,
    /// Which datagrams are lost, and the rest of chance.
    pub seed: u64,
}

impl Gang {
    /// A gang that begins within 50 ms, before that cluster DNS, without loss.
    pub fn new(arm: Arm, pods: usize, cluster_dns: Capacity) -> Self {
        Self {
            arm,
            pods,
            pods_per_node: 20,
            spread: Duration::from_millis(50),
            cluster_dns,
            tier: Capacity::TIER,
            tier_replicas: 2,
            loss: 0.0,
            seed: 1,
        }
    }

    /// What is never sent again must not be lost.
    pub(super) fn lossless_if_once(self) -> Self {
        if self.arm != Arm::Once {
            return self;
        }
        Self { loss: 0.0, cluster_dns: Capacity { buffer: usize::MAX, ..self.cluster_dns }, ..self }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Outcome {
    /// Queries that came to cluster DNS, those included that its socket lost.
    pub queries: u64,
    /// Queries that a proxy sent there again, probes included.
    pub again: u64,
    /// Datagrams that its socket lost.
    pub dropped: u64,
    /// Queries that came to the shared tier.
    pub tier_queries: u64,
    /// Lookups that failed.
    pub failed: u64,
    /// How long each lookup took, in seconds, ascending; infinite: it failed.
    pub lookup_seconds: Vec<f64>,
    /// How long each pod took for its names, in seconds, ascending; infinite: a lookup failed.
    pub pod_seconds: Vec<f64>,
}

impl Outcome {
    /// A pod is through with its names.
    pub(super) fn record(&mut self, stub: &Stub, took: Duration) {
        let seconds = |took: Duration, failed| if failed > 0 { f64::INFINITY } else { took.as_secs_f64() };
        let lookups = stub.lookups.iter().map(|(took, has_failed)| (*took, u64::from(*has_failed)));
        let failed = lookups.clone().map(|(_, failed)| failed).sum();
        self.failed += failed;
        self.lookup_seconds.extend(lookups.map(|(took, failed)| seconds(took, failed)));
        self.pod_seconds.push(seconds(took, failed));
    }

    /// All pods are through.
    pub(super) fn sorted(mut self) -> Self {
        self.lookup_seconds.sort_by(f64::total_cmp);
        self.pod_seconds.sort_by(f64::total_cmp);
        self
    }
}
