//! Metrics of pods, read through the API server.

use super::namespace::Namespace;
use super::{Cluster, kubectl, name_of};
use crate::failure::Failure;
use crate::metrics::sum;

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
    /// The sum of a metric over the shared tier's pods with these labels.
    pub async fn sum_of_proxies(&self, labels: &str, metric: &str) -> Result<f64, Failure> {
        let mut total = 0.0;
        for pod in self.pods(labels).await? {
            let page = self.cluster.scrape(&self.name, name_of(&pod), SIDECAR_PORT).await?;
            total += sum(&page, metric, &[]);
        }
        Ok(total)
    }
}
