//! Measures the cost of injection for a node when pods start; see `podlocal_experiments::start`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::start::table::table;
use podlocal_experiments::start::{self, Options};
use podlocal_harness::failure::{Failure, WithContext as _};
use serde_json::json;

/// Measures the cost of injection for a node when pods start, on the cluster of KUBECONFIG (`just cluster up`
/// starts one). Creates pods at the same time and waits until all are ready: plain, with an empty second
/// container, injected, and injected with a hook that waits for the proxy. Prints the node's time and CPU
/// time for each pod.
///
/// The CPU time is that of the whole node, as the kubelet reports it: nothing else should run there. When
/// CLUSTER_NODE_EXEC is set, the CPU time of the node's processes is read as well; for a node that is a
/// container, that excludes the rest of the machine. The webhook is installed when it is missing, and then
/// removed again.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of pods that start at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pods: u16,
    /// Number of rounds for each arm.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The node; default: the first schedulable one.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Write the results as JSON to a file, or with `-` to standard output instead of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("start: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = Options {
        pods: arguments.pods.into(),
        rounds: arguments.rounds.into(),
        node: arguments.node.clone(),
    };
    let mut rounds = Vec::new();
    let result = start::run(&options, &mut rounds).await;
    // After a failure, the results so far are printed as well.
    let figures = format!("{:#}\n", json!({ "rounds": rounds }));
    match arguments.json.as_deref() {
        Some(file) if file == Path::new("-") => print!("{figures}"),
        Some(file) => {
            print!("{}", table(&rounds));
            fs::write(file, figures).with_context(|| format!("writing {}", file.display()))?;
        }
        None => print!("{}", table(&rounds)),
    }
    result
}
