//! Watches the LimitRanges of all namespaces, so that no pod is refused for what its proxy requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::LimitRange;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::limits::{Bounds, Limits};
use crate::metrics::{Metrics, Task};
use crate::readiness::Latch;

/// Watches for ever, and puts what was found into `cluster`. What fails is tried again, with growing pauses,
/// and what is known holds. Nothing is kept of them but their bounds.
///
/// `latch` is dropped at the first list; and at the first failure, because no right to see them is no reason
/// to inject nothing.
pub async fn follow(
    client: kube::Client,
    cluster: Arc<watch::Sender<Cluster>>,
    metrics: Arc<Metrics>,
    latch: Latch,
) {
    let mut latch = Some(latch);
    let mut known: BTreeMap<(String, String), Bounds> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let changes = watcher(Api::<LimitRange>::all(client), watcher::Config::default()).default_backoff();
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(range)) => {
                listed.extend(bounds(&range));
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listed),
            Ok(Event::Apply(range)) => known.extend(bounds(&range)),
            Ok(Event::Delete(range)) => {
                known.remove(&key(&range));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch the LimitRanges; retrying");
                metrics.failed(Task::Namespaces);
                drop(latch.take());
                continue;
            }
        }
        let limits =
            Limits::together(known.iter().map(|((namespace, _), bounds)| (namespace.as_str(), bounds)));
        cluster.send_modify(|cluster| cluster.limits = limits);
        drop(latch.take());
    }
}

fn bounds(range: &LimitRange) -> Option<((String, String), Bounds)> {
    Some((key(range), Bounds::of(&serde_json::to_value(range).ok()?)))
}

fn key(range: &LimitRange) -> (String, String) {
    let metadata = &range.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
