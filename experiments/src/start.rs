//! What injection costs a node when pods start: the arms in turn, in each N pods that are created at once.
//!
//! ```text
//!   arm      the ways in which the pods are made
//!   round    one arm, once: pods created, all ready -> time and CPU
//!   table    the rounds -> what is printed
//! ```

pub mod arm;
pub mod round;
pub mod table;

use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::arm::Arm;
use self::round::Round;

/// What is run.
#[derive(Debug)]
pub struct Options {
    /// How many pods start at once.
    pub pods: usize,
    /// How often each arm is run.
    pub rounds: usize,
    /// The node; the first one that pods can be scheduled on where that is `None`.
    pub node: Option<String>,
}

/// Runs all arms in turn, as often as is asked for, and adds each result to `rounds` as soon as it is there.
pub async fn run(options: &Options, rounds: &mut Vec<Round>) -> Result<(), Failure> {
    let cluster = Cluster::connect().await?;
    let node = match &options.node {
        Some(node) => node.clone(),
        None => first_node(&cluster).await?,
    };
    let was_installed = product::is_installed(&cluster).await?;
    product::install(&cluster).await?;
    let mut terminated = signal(SignalKind::terminate()).tried(|| "listening for SIGTERM".to_owned())?;
    let plain = Namespace::create(&cluster, "start", json!({}), &json!({})).await?;
    let opted_in =
        Namespace::create(&cluster, "start", json!({ INJECT_LABEL: INJECT_ENABLED }), &json!({})).await?;
    let bed = Bed { node, plain, opted_in };
    let result = tokio::select! {
        result = bed.run(options, rounds) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminated.recv() => Err(Failure::new("terminated")),
    };
    let mut removed = vec![bed.plain.delete_and_wait().await, bed.opted_in.delete_and_wait().await];
    if !was_installed {
        removed.push(product::remove(product::BASE).await);
    }
    removed.into_iter().fold(result, Result::and)
}

/// What the arms run in.
struct Bed {
    node: String,
    plain: Namespace,
    opted_in: Namespace,
}

impl Bed {
    async fn run(&self, options: &Options, rounds: &mut Vec<Round>) -> Result<(), Failure> {
        for number in 1..=options.rounds {
            for arm in Arm::ALL {
                eprintln!(
                    "start: round {number} of {}: {}, {} pods",
                    options.rounds,
                    arm.name(),
                    options.pods
                );
                let namespace = if arm.is_injected() { &self.opted_in } else { &self.plain };
                let round = round::run(arm, namespace, &self.node, options.pods).await?;
                eprintln!("start: {}", round.summary());
                rounds.push(round);
            }
        }
        Ok(())
    }
}

async fn first_node(cluster: &Cluster) -> Result<String, Failure> {
    let nodes = cluster.list(&cluster.api("v1", "Node", None), "").await?;
    let node =
        nodes.iter().find(|node| is_schedulable(node)).and_then(|node| node["metadata"]["name"].as_str());
    node.map(str::to_owned).ok_or_else(|| {
        Failure::new("the cluster has no node that takes pods (ready, without taints); name one with --node")
    })
}

fn is_schedulable(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(is_ready))
        && node["spec"]["unschedulable"] != true
        && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_pods_when_it_is_ready_and_has_no_taint() {
        let node = |status: &str, spec: Value| json!({ "spec": spec, "status": { "conditions": [{ "type": "Ready", "status": status }] } });
        assert!(is_schedulable(&node("True", json!({}))));
        assert!(!is_schedulable(&node("False", json!({}))));
        assert!(!is_schedulable(&node("True", json!({ "unschedulable": true }))));
        assert!(!is_schedulable(&node("True", json!({ "taints": [{ "effect": "NoSchedule" }] }))));
    }
}
