//! Publishes Events on the owners of pods: why a pod was not injected, and which settings were ignored.
//!
//! A gang of a thousand pods has one owner and one reason. So notices are collected for a few seconds and
//! each distinct one is published once; the recorder counts repeated ones on the same Event.
//!
//! Any client that reaches the port can cause Events. [`may_publish`] restricts the namespaces, and the
//! number of Events is limited per namespace and in total, so that a flood cannot hide real Events.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Now};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::namespaces::{Namespaces, Standing};
use crate::metrics::{EventResult, Metrics};
use crate::rate::{Bucket, PerNamespace, Rate};
use crate::review::notice::Notice;

/// How long notices are collected before they are published.
pub(crate) const BATCH_INTERVAL: Duration = Duration::from_secs(5);

/// The maximum number of notices that wait, and of one batch; further ones are dropped and counted. The log
/// contains all of them.
const MOST_WAITING: usize = 1_000;

/// The rate of Events per namespace: one for each controller that is deployed at the same time.
const NAMESPACE_RATE: Rate = Rate { burst: 25, interval: Duration::from_secs(10) };

/// The rate of Events in total. The API server and etcd keep each one for an hour (`--event-ttl`).
const TOTAL_RATE: Rate = Rate { burst: 200, interval: Duration::from_millis(500) };

/// The namespaces whose pods are never sent to the webhook, regardless of labels (`manifests/base`); so is
/// the webhook's own namespace.
const EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

/// The time limit for publishing one Event.
const DEADLINE: Duration = Duration::from_secs(5);

/// The number of consecutive failures that end a batch, because the API server is overloaded.
const MOST_FAILURES: usize = 3;

/// Accepts notices without waiting.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    publisher: Option<Arc<Outbox>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Outbox {
    sender: mpsc::Sender<Notice>,
    own_namespace: String,
    callers: Callers,
    allowance: Mutex<(PerNamespace, Bucket)>,
}

/// Which clients can send reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Only the API server: it has presented its client certificate.
    Authenticated,
    /// Every client that reaches the port.
    Anyone,
}

/// Whether an Event may be published about an object in a namespace.
///
/// | namespace | only the API server can call | every client can call |
/// |---|---|---|
/// | one whose pods are never sent to the webhook, or the webhook's own | no | no |
/// | unknown, or being deleted | no | no |
/// | not opted in: the pod itself is opted in | yes | no |
/// | opted in | yes | yes |
///
/// Otherwise any client could create Events in every namespace with a forged review of an opted-in pod. The
/// author of a real pod gets the warning, and the pod has the annotation.
fn may_publish(is_excluded: bool, standing: Standing, callers: Callers) -> bool {
    match standing {
        _ if is_excluded => false,
        Standing::Unknown | Standing::Terminating => false,
        Standing::NotEnabled => callers == Callers::Authenticated,
        Standing::Enabled => true,
    }
}

impl Events {
    /// Publishes nothing, because there is no cluster.
    pub(crate) fn none(metrics: Arc<Metrics>) -> Self {
        Self { publisher: None, metrics }
    }

    /// Starts a task that publishes allowed notices, forever.
    pub(crate) fn start(
        client: kube::Client,
        callers: Callers,
        metrics: Arc<Metrics>,
        batch_interval: Duration,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let allowance = (PerNamespace::new(NAMESPACE_RATE), Bucket::full(Now::now()));
        let own_namespace = client.default_namespace().to_owned();
        let outbox = Outbox { sender, own_namespace, callers, allowance: Mutex::new(allowance) };
        let publisher = Publisher {
            recorder: Recorder::new(client, Reporter::from("podlocal-dns-webhook")),
            metrics: metrics.clone(),
        };
        tokio::spawn(publisher.run(receiver, batch_interval));
        Self { publisher: Some(Arc::new(outbox)), metrics }
    }

    /// Queues `notice` for publication; drops it if it is not allowed, or if too many are waiting.
    pub(crate) fn publish(&self, notice: Notice, namespaces: &Namespaces) {
        let Some(outbox) = &self.publisher else { return };
        let standing = namespaces.standing(&notice.owner.namespace);
        if !outbox.may_publish(&notice, standing) {
            self.metrics.events.inc(EventResult::NamespaceNotAllowed);
        } else if !outbox.try_take_tokens(&notice, Now::now()) || outbox.sender.try_send(notice).is_err() {
            self.metrics.events.inc(EventResult::Dropped);
        }
    }
}

impl Outbox {
    fn may_publish(&self, notice: &Notice, standing: Standing) -> bool {
        let namespace = notice.owner.namespace.as_str();
        let is_excluded = EXCLUDED_NAMESPACES.contains(&namespace) || namespace == self.own_namespace;
        may_publish(is_excluded, standing, self.callers)
    }

    fn try_take_tokens(&self, notice: &Notice, now: Now) -> bool {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let (per_namespace, total) = &mut *allowance;
        per_namespace.try_take(&notice.owner.namespace, now) && total.try_take(TOTAL_RATE, now)
    }
}

struct Publisher {
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

impl Publisher {
    async fn run(self, mut notices: mpsc::Receiver<Notice>, batch_interval: Duration) {
        while let Some(first) = notices.recv().await {
            let end = Instant::now() + batch_interval;
            let mut batch = BTreeSet::from([first]);
            while batch.len() < MOST_WAITING
                && let Ok(Some(notice)) = tokio::time::timeout_at(end, notices.recv()).await
            {
                batch.insert(notice);
            }
            self.publish_batch(batch).await;
        }
    }

    async fn publish_batch(&self, notices: BTreeSet<Notice>) {
        let mut failures = 0;
        for notice in notices {
            if failures == MOST_FAILURES {
                self.metrics.events.inc(EventResult::Dropped);
                continue;
            }
            let (event, owner) = (event(&notice), reference(&notice));
            let published = tokio::time::timeout(DEADLINE, self.recorder.publish(&event, &owner)).await;
            let error = match published {
                Ok(Ok(())) => {
                    failures = 0;
                    self.metrics.events.inc(EventResult::Published);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("the API server did not answer within {DEADLINE:?}"),
            };
            failures += 1;
            self.metrics.events.inc(EventResult::Failed);
            let owner = format!("{} {}/{}", notice.owner.kind, notice.owner.namespace, notice.owner.name);
            tracing::warn!(owner, error, "cannot publish an Event");
        }
    }
}

fn event(notice: &Notice) -> Event {
    Event {
        type_: EventType::Warning,
        reason: notice.kind.reason().to_owned(),
        note: Some(notice.note.clone()),
        action: "Inject".to_owned(),
        secondary: None,
    }
}

fn reference(notice: &Notice) -> ObjectReference {
    let owner = notice.owner.clone();
    ObjectReference {
        api_version: Some(owner.api_version),
        kind: Some(owner.kind),
        name: Some(owner.name),
        namespace: Some(owner.namespace),
        uid: Some(owner.uid),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_published_only_where_the_caller_may_publish() {
        use Callers::{Anyone, Authenticated};
        use Standing::{Enabled, NotEnabled, Terminating, Unknown};
        for (is_excluded, standing, authenticated, anyone) in [
            (true, Enabled, false, false),
            (true, NotEnabled, false, false),
            (false, Unknown, false, false),
            (false, Terminating, false, false),
            (false, NotEnabled, true, false),
            (false, Enabled, true, true),
        ] {
            let may = |callers| may_publish(is_excluded, standing, callers);
            assert_eq!((may(Authenticated), may(Anyone)), (authenticated, anyone), "{standing:?}");
        }
    }
}
