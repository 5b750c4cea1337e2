//! The cost of injection for a node when pods start. The arms run in turn; each creates N pods at the same
//! time.
//!
//! ```text
//!   arm      the kinds of pods that are compared
//!   round    one run of one arm: create pods, wait until all are ready -> time and CPU
//!   table    the rounds -> the printed table
//! ```

mod arm;
mod round;
mod table;

use std::process::ExitCode;

use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, name_of, product};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::json;

use self::arm::Arm;
use self::round::Round;
use crate::program::{JsonFlag, exit_code, until_signal};

/// Measures the cost of injection for a node when pods start, on the cluster of KUBECONFIG (`just cluster up`
/// starts one). Creates pods at the same time and waits until all are ready: plain, with an empty second
/// container, injected, and injected with a hook that waits for the proxy. Prints the node's time and CPU
/// time for each pod.
///
/// The CPU time is that of the whole node, as the kubelet reports it: nothing else should run there. When
/// CLUSTER_NODE_EXEC is set, the CPU time of the node's processes is read as well; for a node that is a
/// container, that excludes the rest of the machine. The webhook is installed when it is missing, and then
/// removed again.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// Number of pods that start at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pods: u16,
    /// Number of rounds for each arm.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The node; default: the only one.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

/// Runs the program, and returns its exit code.
pub async fn main(options: Options) -> ExitCode {
    let mut rounds = Vec::new();
    let result = run(&options, &mut rounds).await;
    // After a failure, the results so far are printed as well.
    let written = options.json.write(&json!({ "rounds": rounds }), &table::table(&rounds));
    exit_code("start", result.and(written).map(|()| true))
}

/// Runs all arms in turn, and adds each result to `rounds` as soon as it is known.
async fn run(options: &Options, rounds: &mut Vec<Round>) -> Result<(), Failure> {
    let cluster = Cluster::connect().await?;
    let node = match &options.node {
        Some(node) => node.clone(),
        None => only_node(&cluster).await?,
    };
    let was_installed = product::is_installed(&cluster).await?;
    product::install(&cluster).await?;
    let plain = Namespace::create(&cluster, "start", json!({}), &json!({})).await?;
    let opted_in =
        Namespace::create(&cluster, "start", json!({ INJECT_LABEL: INJECT_ENABLED }), &json!({})).await?;
    let result = until_signal(async {
        for number in 1..=options.rounds {
            for arm in Arm::ALL {
                eprintln!("start: round {number} of {}: {}", options.rounds, arm.name());
                let namespace = if arm.is_injected() { &opted_in } else { &plain };
                let round = round::run(arm, namespace, &node, options.pods.into()).await?;
                eprintln!("start: {round:?}");
                rounds.push(round);
            }
        }
        Ok(())
    })
    .await;
    let mut removed = vec![plain.delete_and_wait().await, opted_in.delete_and_wait().await];
    if !was_installed {
        removed.push(product::remove(product::BASE).await);
    }
    removed.into_iter().fold(result, Result::and)
}

async fn only_node(cluster: &Cluster) -> Result<String, Failure> {
    let nodes = cluster.list(&cluster.api("v1", "Node", None), "").await?;
    match &nodes[..] {
        [node] => Ok(name_of(node).to_owned()),
        _ => Err(Failure::new("the cluster has more than one node; name one with --node")),
    }
}
