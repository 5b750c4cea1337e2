//! Asks the cluster about itself, and puts what it says where every review sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::{Cluster, Version};
use crate::metrics::{Metrics, Task};

/// How long the version is believed; a control plane is upgraded once in a while, never back.
const VERSION_INTERVAL: Duration = Duration::from_mins(10);

/// How long to wait after a failed attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Asks the API server for its version, for ever, and puts it into `cluster`.
///
/// While the version is unknown pods are injected: every version that is still maintained is new enough.
pub async fn follow_version(
    client: kube::Client,
    cluster: Arc<watch::Sender<Cluster>>,
    metrics: Arc<Metrics>,
) {
    loop {
        let pause = match client.apiserver_version().await {
            Ok(info) => {
                let version = Version::parse(&info.major, &info.minor);
                let changed = cluster.send_if_modified(|cluster| {
                    let changed = version.is_some() && cluster.version != version;
                    cluster.version = version.or(cluster.version);
                    changed
                });
                if changed && let Some(version) = version {
                    tracing::info!(%version, "Kubernetes version");
                }
                VERSION_INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the version of the API server; retrying");
                metrics.failed(Task::ServerVersion);
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}
