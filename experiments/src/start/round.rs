//! One run of one arm: pods are created at the same time, until all are ready.

use std::time::Duration;

use futures_util::future::try_join_all;
use podlocal_harness::cluster::eventually;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::node::{CpuTime, cpu_of_processes};
use podlocal_harness::failure::{Failure, WithContext as _};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::arm::Arm;

/// The label of the pods.
const LABEL: (&str, &str) = ("app", "start");

/// The cost of N pods.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// The kind of the pods.
    pub(super) arm: Arm,
    /// The number of pods.
    pub(super) pods: usize,
    /// The time from the creation of all pods until all are ready, in milliseconds, divided by their number.
    pub(super) node_ms: f64,
    /// The CPU time that the node used in that time, in milliseconds, divided by the number of pods; from the
    /// kubelet's statistics.
    pub(super) cpu_ms: f64,
    /// The CPU time of the node's processes alone, when commands can be run on the node. For a node that is a
    /// container, it excludes the rest of the machine.
    pub(super) process_ms: Option<f64>,
    /// The cores that the node used just before, without the pods.
    pub(super) idle_cores: f64,
}

/// Creates the pods at the same time, measures until all are ready, and deletes them.
pub(super) async fn run(arm: Arm, namespace: &Namespace, node: &str, pods: usize) -> Result<Round, Failure> {
    // The kubelet's statistics are up to 15 s old: idle time between two of them, then the start, then idle
    // time again.
    let idle = fresh(namespace, node, None).await?;
    let before = fresh(namespace, node, None).await?;
    let processes_before = cpu_of_processes().await?;
    let begin = Instant::now();
    let selector = format!("{}={}", LABEL.0, LABEL.1);
    let creations = (0..pods).map(|number| namespace.apply(numbered(arm.pod(node), number)));
    let (created, ready) =
        tokio::join!(try_join_all(creations), namespace.wait_until_all_ready(&selector, pods));
    created?;
    ready?;
    let took = begin.elapsed().as_secs_f64();
    let processes_after = cpu_of_processes().await?;
    let after = fresh(namespace, node, Some(before.at + took)).await?;
    let started = namespace.pods(&selector).await?;
    delete_all(namespace, &selector).await?;
    for pod in &started {
        check(arm, pod)?;
    }
    let idle_cores = before.cores_since(idle);
    let per_pod = |seconds: f64| seconds * 1e3 / pods as f64;
    // The window is longer than the start: the rest of it is idle.
    let idle_seconds = (after.at - before.at - took).max(0.0) * idle_cores;
    Ok(Round {
        arm,
        pods,
        node_ms: per_pod(took),
        cpu_ms: per_pod(after.used - before.used - idle_seconds),
        process_ms: processes_after.zip(processes_before).map(|(after, before)| per_pod(after - before)),
        idle_cores,
    })
}

/// Waits until the kubelet has new statistics; with `not_before`, until they are from a later time.
async fn fresh(namespace: &Namespace, node: &str, not_before: Option<f64>) -> Result<CpuTime, Failure> {
    let first = namespace.cluster.node_cpu(node).await?;
    let after = not_before.unwrap_or(first.at);
    eventually("new statistics of the kubelet", async || {
        let sample = namespace.cluster.node_cpu(node).await?;
        if sample.at > after {
            return Ok(Some(sample));
        }
        // Each request uses CPU of the node as well.
        sleep(Duration::from_millis(900)).await;
        Ok(None)
    })
    .await
}

fn numbered(mut pod: Value, number: usize) -> Value {
    pod["metadata"]["name"] = json!(format!("pod-{number}"));
    pod["metadata"]["labels"] = json!({ LABEL.0: LABEL.1 });
    pod
}

async fn delete_all(namespace: &Namespace, selector: &str) -> Result<(), Failure> {
    for pod in namespace.pods(selector).await? {
        namespace.delete_pod(podlocal_harness::cluster::name_of(&pod)).await?;
    }
    eventually("the pods of the round are gone", async || {
        Ok(namespace.pods(selector).await?.is_empty().then_some(()))
    })
    .await
}

/// Fails when a pod does not match its arm, because its cost would be counted for the wrong arm.
fn check(arm: Arm, pod: &Value) -> Result<(), Failure> {
    let init_containers = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    let expected = usize::from(arm != Arm::Plain);
    let hook = &pod["spec"]["initContainers"][0]["lifecycle"];
    if init_containers == expected && (arm == Arm::Waiting) != hook.is_null() {
        return Ok(());
    }
    let found = format!("{init_containers} init containers, hook {hook}");
    Err(Failure::new(format!("expected {expected} init containers and the hook of the arm, found {found}")))
        .with_context(|| format!("pods of the arm {:?}", arm.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_was_not_injected_is_no_injected_pod() {
        let pod = |init: Value| json!({ "spec": { "initContainers": init } });
        let hooked = pod(json!([{ "name": "podlocal-dns", "lifecycle": { "postStart": {} } }]));
        let without = pod(json!([{ "name": "podlocal-dns" }]));
        let bare = pod(json!(null));
        assert!(check(Arm::Plain, &bare).is_ok() && check(Arm::Injected, &without).is_ok());
        assert!(check(Arm::Waiting, &hooked).is_ok() && check(Arm::Waiting, &without).is_err());
        assert!(check(Arm::Injected, &bare).is_err() && check(Arm::Plain, &without).is_err());
        assert!(check(Arm::Injected, &hooked).is_err());
    }
}
