//! The annotations and the label of all namespaces, from a watch: a review needs no API call, and the known
//! state is kept while the API server does not answer.

use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use podlocal_telemetry::Latch;
use serde_json::{Map, Value};

use crate::metrics::{Metrics, Task};
use crate::review::namespace;

/// The namespaces of the cluster, with the label and the annotations of the project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespaces(Option<Store<PartialObjectMeta<Namespace>>>);

impl Namespaces {
    /// Starts a task that watches the namespaces forever; drops `latch` after the first list. Failures are
    /// retried with backoff.
    ///
    /// Only metadata is requested, and only relevant keys are kept: a cluster may have ten thousand
    /// namespaces.
    pub(crate) fn watch(client: kube::Client, metrics: Arc<Metrics>, latch: Latch) -> Self {
        let (known, writer) = reflector::store();
        let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client);
        let changes = watcher(namespaces, watcher::Config::default())
            .default_backoff()
            .modify(only_ours)
            .reflect(writer);
        tokio::spawn(async move {
            let mut changes = std::pin::pin!(changes);
            while let Some(change) = changes.next().await {
                if let Err(error) = change {
                    tracing::warn!(%error, "cannot watch the namespaces; retrying");
                    metrics.task_failures.inc(Task::Namespaces);
                }
            }
        });
        let first = known.clone();
        tokio::spawn(async move {
            if first.wait_until_ready().await.is_ok() {
                tracing::info!(namespaces = first.len(), "namespaces loaded");
                drop(latch);
            }
        });
        Self(Some(known))
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The state of a namespace according to the watch.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        self.find(name).map_or(Standing::Unknown, |namespace| standing(&namespace))
    }

    fn find(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.0.as_ref()?.get(&ObjectRef::new(name))
    }

    /// The relevant annotations of a namespace; empty while it is unknown.
    pub(crate) fn annotations(&self, name: &str) -> Map<String, Value> {
        let annotations = self.find(name).and_then(|namespace| namespace.metadata.annotations.clone());
        annotations.into_iter().flatten().map(|(key, text)| (key, Value::String(text))).collect()
    }
}

/// The state of a namespace according to the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No namespace of that name is known.
    Unknown,
    /// It is being deleted: the API server accepts no new objects in it.
    Terminating,
    NotEnabled,
    Enabled,
}

fn standing(namespace: &PartialObjectMeta<Namespace>) -> Standing {
    let label = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(INJECT_LABEL));
    match label.map(String::as_str) {
        _ if namespace.metadata.deletion_timestamp.is_some() => Standing::Terminating,
        Some(INJECT_ENABLED) => Standing::Enabled,
        _ => Standing::NotEnabled,
    }
}

fn only_ours(namespace: &mut PartialObjectMeta<Namespace>) {
    let metadata = &mut namespace.metadata;
    metadata.managed_fields = None;
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|key, _| key == INJECT_LABEL);
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| namespace::concerns_us(key));
    }
}
