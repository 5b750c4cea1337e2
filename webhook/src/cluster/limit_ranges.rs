//! Watches the LimitRanges of all namespaces, so that no pod is rejected because of the resources of its
//! sidecar.

use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::LimitRange;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use podlocal_telemetry::Latch;
use serde_json::Value;
use tokio::sync::watch;

use crate::metrics::{Metrics, Task};
use crate::review::cluster_state::Cluster;
use crate::review::limits::Limits;

/// Watches forever, and stores the limits in `cluster`. Failures are retried with backoff, and the known
/// limits are kept. Only the limits of each LimitRange are stored.
///
/// `latch` is dropped after the first list, and after the first failure: a missing permission must not stop
/// injection.
pub(crate) async fn watch_limit_ranges(
    client: kube::Client,
    cluster: Arc<watch::Sender<Cluster>>,
    metrics: Arc<Metrics>,
    latch: Latch,
) {
    let mut latch = Some(latch);
    let (mut known, mut listed) = (Limits::default(), Limits::default());
    let changes = watcher(Api::<LimitRange>::all(client), watcher::Config::default()).default_backoff();
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Init) => {
                listed = Limits::default();
                continue;
            }
            Ok(Event::InitApply(range)) => {
                listed.insert(&value(&range));
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listed),
            Ok(Event::Apply(range)) => known.insert(&value(&range)),
            Ok(Event::Delete(range)) => known.remove(&value(&range)),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the LimitRanges; retrying");
                metrics.task_failures.inc(Task::Namespaces);
                drop(latch.take());
                continue;
            }
        }
        cluster.send_modify(|cluster| cluster.limits = known.clone());
        drop(latch.take());
    }
}

fn value(range: &LimitRange) -> Value {
    serde_json::to_value(range).unwrap_or_default()
}
