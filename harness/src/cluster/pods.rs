//! Pods: their state, their logs, and commands in their containers.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, DeleteParams, LogParams, WatchEvent, WatchParams};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::eventually;
use super::namespace::Namespace;
use crate::failure::{Failure, WithContext};

/// The output and the exit status of a command in a container.
#[derive(Debug)]
pub struct Executed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether its exit code was 0.
    pub is_success: bool,
}

impl Namespace {
    /// The pods whose labels match the selector; an empty selector matches all.
    pub async fn pods(&self, labels: &str) -> Result<Vec<Value>, Failure> {
        self.cluster.list(&self.cluster.api("v1", "Pod", Some(&self.name)), labels).await
    }

    /// Reads a pod.
    pub async fn pod(&self, name: &str) -> Result<Value, Failure> {
        self.get("v1", "Pod", name).await
    }

    /// Waits until a condition holds for a pod. `what` names the condition in the error.
    pub async fn wait_for(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        eventually(&format!("pod {name}: {what}"), async || {
            let pod = self.pod(name).await?;
            Ok(condition(&pod).then_some(pod))
        })
        .await
    }

    /// Waits until every container of a pod is ready.
    pub async fn wait_until_ready(&self, name: &str) -> Result<Value, Failure> {
        self.wait_for(name, "ready", is_ready).await
    }

    /// Waits until a pod has ended, whether it succeeded or failed.
    pub async fn wait_until_finished(&self, name: &str) -> Result<Value, Failure> {
        let has_ended = |pod: &Value| matches!(phase(pod), "Succeeded" | "Failed");
        self.wait_for(name, "ended", has_ended).await
    }

    /// Waits until `count` pods with these labels are ready. A watch costs the API server less than polling,
    /// and reports without delay.
    pub async fn wait_until_all_ready(&self, labels: &str, count: usize) -> Result<(), Failure> {
        // The API server may end the watch.
        let seconds = 290;
        let watching = || format!("watching pods with {labels}");
        let parameters = WatchParams::default().labels(labels).timeout(seconds);
        let pods = self.cluster.api("v1", "Pod", Some(&self.name));
        let mut events = std::pin::pin!(pods.watch(&parameters, "0").await.with_context(watching)?);
        let mut ready = BTreeSet::new();
        while ready.len() < count {
            let event = events.next().await;
            let Some(event) = event else {
                let found = ready.len();
                return Err(Failure::new(format!(
                    "after {seconds} s {found} of {count} pods with {labels} are ready"
                )));
            };
            if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event.with_context(watching)? {
                let name = pod.metadata.name.clone().unwrap_or_default();
                if is_ready(&serde_json::to_value(pod).with_context(watching)?) {
                    ready.insert(name);
                }
            }
        }
        Ok(())
    }

    /// The log of a container so far.
    pub async fn log(&self, pod: &str, container: &str) -> Result<String, Failure> {
        let parameters = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        self.typed_pods()
            .logs(pod, &parameters)
            .await
            .with_context(|| format!("reading the log of {pod}/{container}"))
    }

    /// Runs a command in a container, as `kubectl exec` does.
    pub async fn exec(&self, pod: &str, container: &str, words: &[&str]) -> Result<Executed, Failure> {
        let what = || format!("running {words:?} in {pod}/{container}");
        let parameters = AttachParams::default().container(container).stdin(false);
        let attached =
            self.typed_pods().exec(pod, words.iter().copied(), &parameters).await.with_context(what)?;
        finish(attached).await.with_context(what)
    }

    /// Deletes a pod, with the grace period of its manifest.
    pub async fn delete_pod(&self, name: &str) -> Result<(), Failure> {
        let deleted = self.typed_pods().delete(name, &DeleteParams::default()).await;
        deleted.map(drop).with_context(|| format!("deleting pod {name}"))
    }

    /// A typed API, which subresources such as `log` and `exec` need.
    fn typed_pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }
}

/// A pod's phase.
pub fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

/// Whether every container is ready.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(is_true))
}

/// The status of a container, native sidecars and other init containers included.
pub fn container_status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    statuses.find(|status| status["name"] == container)
}

/// How often a container was restarted.
pub fn restarts(pod: &Value, container: &str) -> u64 {
    container_status(pod, container).and_then(|status| status["restartCount"].as_u64()).unwrap_or_default()
}

async fn finish(mut attached: AttachedProcess) -> Result<Executed, Failure> {
    let status = attached.take_status();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut from_stdout, mut from_stderr) = (attached.stdout(), attached.stderr());
    let read_stdout = async {
        if let Some(stream) = &mut from_stdout {
            stream.read_to_end(&mut stdout).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let read_stderr = async {
        if let Some(stream) = &mut from_stderr {
            stream.read_to_end(&mut stderr).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::try_join!(read_stdout, read_stderr).with_context("reading its output")?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    attached.join().await.with_context("closing the connection")?;
    let is_success = status.is_some_and(|status| status.status.as_deref() == Some("Success"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Executed { stdout: text(stdout), stderr: text(stderr), is_success })
}
