//! A running pod.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::time::timeout;

use super::container::Container;
use super::kubelet;
use super::sandbox::Sandbox;
use super::status::Status;
use crate::cluster::pods::Executed;
use crate::failure::{Failure, WithContext};

/// The time-out for every wait for a pod. It is far above the usual time, and is reached only after a
/// failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// A pod that runs or has ended. Dropping it ends the pod.
#[derive(Debug)]
pub struct Running {
    sandbox: Arc<Sandbox>,
    /// The pod ends when it is dropped.
    status: watch::Receiver<Status>,
    /// The runtime of the thread in the pod's namespaces.
    thread: Handle,
}

impl Running {
    /// Starts a thread that becomes the pod's.
    pub(super) fn start(sandbox: Sandbox) -> Result<Self, Failure> {
        let sandbox = Arc::new(sandbox);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.with_context("starting a tokio runtime")?;
        let (sender, status) = watch::channel(Status::default());
        let running = Self { sandbox: Arc::clone(&sandbox), status, thread: runtime.handle().clone() };
        let pod = move || runtime.block_on(kubelet::run(&sandbox, sender));
        thread::Builder::new().spawn(pod).with_context("starting the thread of a pod")?;
        Ok(running)
    }

    /// Its address, on the node's bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.sandbox.address
    }

    /// The current status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits for a condition, at most one minute. Fails early when the pod has ended.
    pub async fn wait_for(
        &self,
        what: &str,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Status, Failure> {
        let mut status = self.status.clone();
        let mut met = false;
        let is_decided = |status: &Status| {
            met = condition(status);
            met || status.finished
        };
        let waited = timeout(DEADLINE, status.wait_for(is_decided)).await;
        let in_time = matches!(waited, Ok(Ok(_)));
        drop(waited);
        if met && in_time {
            return Ok(self.status());
        }
        let why = if in_time { "the pod has ended" } else { "the deadline has passed" };
        Err(Failure::new(format!("waiting for {what}: {why}\n{}", self.status().describe())))
    }

    /// Waits until a container has been started.
    pub async fn wait_until_started(&self, container: &str) -> Result<Status, Failure> {
        self.wait_for(&format!("container {container}"), |status| status.container(container).is_some()).await
    }

    /// Waits until the pod has ended.
    pub async fn wait_until_finished(&self) -> Result<Status, Failure> {
        self.wait_for("the end of the pod", |status| status.finished).await
    }

    /// Runs a program in a container, as `kubectl exec` does.
    pub async fn execute(&self, container: &str, words: &[&str]) -> Result<Executed, Failure> {
        let what = format!("the end of {} in container {container}", words.join(" "));
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let (sandbox, name) = (Arc::clone(&self.sandbox), container.to_owned());
        let executed = self.thread.spawn(async move {
            let container = Container::find(&sandbox, &name).with_context("the pod has no such container")?;
            container.execute(&words).await
        });
        timeout(DEADLINE, executed).await.with_context(what.as_str())?.with_context(what.as_str())?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Remaining files are gone with the node.
        let _ = fs::remove_dir_all(&self.sandbox.directory);
    }
}
