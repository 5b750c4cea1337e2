//! Metrics of pods, read through the API server.

use super::namespace::Namespace;
use super::{Cluster, kubectl, name_of};
use crate::failure::Failure;
use crate::metrics::count;

/// The port of the sidecar and of the shared tier.
pub const SIDECAR_PORT: u16 = 9353;

impl Cluster {
    /// The metrics of a pod on this port, in Prometheus's text format.
    pub async fn scrape(&self, namespace: &str, pod: &str, port: u16) -> Result<String, Failure> {
        kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics")])
            .await
    }
}

impl Namespace {
    /// The sum of a counter over pods with these labels: its series that have at least the labels `of`.
    pub async fn sum_of_pods(
        &self,
        pods: &str,
        port: u16,
        counter: &str,
        of: &[(&str, &str)],
    ) -> Result<u64, Failure> {
        let mut total = 0;
        for pod in self.pods(pods).await? {
            total += count(&self.cluster.scrape(&self.name, name_of(&pod), port).await?, counter, of);
        }
        Ok(total)
    }
}
