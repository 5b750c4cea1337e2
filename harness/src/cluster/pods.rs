//! Pods: their state, their logs, and commands in their containers.

use std::collections::BTreeSet;
use std::io;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, DeleteParams, LogParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::namespace::Namespace;
use super::{eventually, kubectl};
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

    /// Limits the CPU of a running container in place (Kubernetes 1.33), and waits until the kubelet has applied
    /// the limit.
    pub async fn limit_cpu(
        &self,
        pod: &str,
        container: &str,
        request: &str,
        limit: &str,
    ) -> Result<(), Failure> {
        let resources = json!({ "requests": { "cpu": request }, "limits": { "cpu": limit } });
        let patch = json!({ "spec": { "containers": [{ "name": container, "resources": resources }] } });
        let patch = patch.to_string();
        let resize = ["patch", "pod", pod, "--subresource=resize", "--patch", &patch];
        kubectl(&[&["--namespace", &self.name][..], &resize].concat()).await?;
        let is_limited = |pod: &Value| {
            let status = container_status(pod, container);
            status.is_some_and(|status| status["resources"]["limits"]["cpu"] == limit)
        };
        self.wait_for(pod, "its CPU is limited", is_limited).await.map(drop)
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
    let (stdout, stderr) = tokio::try_join!(read(attached.stdout()), read(attached.stderr()))
        .with_context("reading its output")?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    attached.join().await.with_context("closing the connection")?;
    let is_success = status.is_some_and(|status| status.status.as_deref() == Some("Success"));
    Ok(Executed { stdout, stderr, is_success })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
