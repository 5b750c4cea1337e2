//! The simulated gang, and its outcome.

use std::time::Duration;

use super::Arm;
use super::server::Capacity;

/// A simulated gang.
#[derive(Debug, Clone, Copy)]
pub struct Gang {
    /// The DNS configuration of the pods.
    pub arm: Arm,
    /// The number of pods.
    pub pods: usize,
    /// The time over which the first queries of the pods are spread.
    pub spread: Duration,
    /// The capacity of cluster DNS.
    pub cluster_dns: Capacity,
    /// The capacity of each replica of the shared tier, in the arm with a tier.
    pub tier: Capacity,
    /// The number of replicas.
    pub tier_replicas: usize,
    /// The share of datagrams that are lost on the network, in each direction.
    pub loss: f64,
    /// The seed for lost datagrams and other random decisions.
    pub seed: u64,
}

impl Gang {
    /// A gang that starts within 50 ms, with this cluster DNS, without loss.
    pub fn new(arm: Arm, pods: usize, cluster_dns: Capacity) -> Self {
        Self {
            arm,
            pods,
            spread: Duration::from_millis(50),
            cluster_dns,
            tier: Capacity::TIER,
            tier_replicas: 2,
            loss: 0.0,
            seed: 1,
        }
    }
}

/// The outcome of a gang.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Outcome {
    /// Queries that arrived at cluster DNS, including those that its socket dropped.
    pub queries: u64,
    /// Datagrams that its socket dropped.
    pub dropped: u64,
    /// Lookups that failed.
    pub failed: u64,
    /// The duration of each lookup, in seconds, ascending; infinite for a failed one.
    pub lookup_seconds: Vec<f64>,
    /// The duration of all lookups of each pod, in seconds, ascending; infinite when one failed.
    pub pod_seconds: Vec<f64>,
}

impl Outcome {
    /// Records a pod that has finished its lookups: the duration of each, and whether it failed.
    pub(super) fn record(&mut self, lookups: &[(Duration, bool)], elapsed: Duration) {
        let seconds = |elapsed: Duration, failed| if failed { f64::INFINITY } else { elapsed.as_secs_f64() };
        self.failed += lookups.iter().filter(|(_, failed)| *failed).count() as u64;
        self.lookup_seconds.extend(lookups.iter().map(|(elapsed, failed)| seconds(*elapsed, *failed)));
        self.pod_seconds.push(seconds(elapsed, lookups.iter().any(|(_, failed)| *failed)));
    }

    /// Sorts the durations, after all pods have finished.
    pub(super) fn sorted(mut self) -> Self {
        self.lookup_seconds.sort_by(f64::total_cmp);
        self.pod_seconds.sort_by(f64::total_cmp);
        self
    }
}
