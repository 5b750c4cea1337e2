//! Events on the owners of pods: why a pod was not injected, which settings were ignored.
//!
//! A gang of a thousand pods has one owner and one reason. So notices are gathered for a few seconds, each is
//! published once, and the recorder counts the ones that come again on the same Event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::metrics::{EventResult, Metrics};
use crate::notice::Notice;

/// How long notices are gathered.
pub const GATHERED_FOR: Duration = Duration::from_secs(5);

/// The most notices that wait to be gathered, and that are published at a time; above that they are dropped, and
/// counted. The log has them all.
const MOST_WAITING: usize = 1_000;

/// How long the API server may take for one.
const DEADLINE: Duration = Duration::from_secs(5);

/// How many failures in a row end a round: the API server has other worries.
const MOST_FAILURES: usize = 3;

/// Takes notices without waiting.
#[derive(Debug, Clone)]
pub struct Events {
    sender: Option<mpsc::Sender<Notice>>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Publishes nothing: there is no cluster.
    pub fn none(metrics: Arc<Metrics>) -> Self {
        Self { sender: None, metrics }
    }

    /// Publishes what it is given, for ever, in a task.
    pub fn publish(client: kube::Client, metrics: Arc<Metrics>, gathered_for: Duration) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let publisher = Publisher {
            recorder: Recorder::new(client, Reporter::from("podlocal-dns-webhook")),
            metrics: metrics.clone(),
        };
        tokio::spawn(publisher.run(receiver, gathered_for));
        Self { sender: Some(sender), metrics }
    }

    /// Has `notice` published, soon; or drops it when too many wait.
    pub fn tell(&self, notice: Notice) {
        if let Some(sender) = &self.sender
            && sender.try_send(notice).is_err()
        {
            self.metrics.event(EventResult::Dropped);
        }
    }
}

struct Publisher {
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

impl Publisher {
    async fn run(self, mut notices: mpsc::Receiver<Notice>, gathered_for: Duration) {
        while let Some(first) = notices.recv().await {
            let end = Instant::now() + gathered_for;
            let mut gathered = BTreeSet::from([first]);
            while gathered.len() < MOST_WAITING
                && let Ok(Some(notice)) = tokio::time::timeout_at(end, notices.recv()).await
            {
                gathered.insert(notice);
            }
            self.round(gathered).await;
        }
    }

    async fn round(&self, notices: BTreeSet<Notice>) {
        let mut failures = 0;
        for notice in notices {
            if failures == MOST_FAILURES {
                self.metrics.event(EventResult::Dropped);
                continue;
            }
            let (event, owner) = (event(&notice), reference(&notice));
            let published = tokio::time::timeout(DEADLINE, self.recorder.publish(&event, &owner)).await;
            let error = match published {
                Ok(Ok(())) => {
                    failures = 0;
                    self.metrics.event(EventResult::Published);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {DEADLINE:?}"),
            };
            failures += 1;
            self.metrics.event(EventResult::Failed);
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
