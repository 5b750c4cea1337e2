//! Reads the version of the API server, and stores it where every review sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::metrics::{Metrics, Task};
use crate::review::cluster_state::{Cluster, Version};

/// How often the version is read; a control plane is upgraded rarely, and never downgraded.
const VERSION_INTERVAL: Duration = Duration::from_mins(10);

const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Reads the version of the API server repeatedly, forever, and stores it in `cluster`.
///
/// While the version is unknown, pods are injected: every maintained version is new enough.
pub async fn poll_version(client: kube::Client, cluster: Arc<watch::Sender<Cluster>>, metrics: Arc<Metrics>) {
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
                metrics.task_failures.inc(Task::ServerVersion);
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}
