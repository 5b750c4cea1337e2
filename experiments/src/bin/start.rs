//! What injection costs a node when pods start; see `podlocal_experiments::start`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::start::table::table;
use podlocal_experiments::start::{self, Options};
use podlocal_harness::failure::{Failure, Tried as _};
use serde_json::json;

/// Measures what injection costs a node when pods start, on the cluster that KUBECONFIG names: `just cluster up` starts one.
/// Creates pods at once and waits until all are ready; plain, with an empty second container, injected, and injected with a
/// hook that waits for the proxy, in turn. Prints the node's time and CPU time for each pod.
///
/// The CPU time is the node's as the kubelet reports it, whatever else runs there: let nothing else run. Where
/// CLUSTER_NODE_EXEC says how to run commands on the node, the CPU time of its processes is read, too: when the node is a
/// container, that leaves out the rest of the machine. The webhook is installed where it is not, and then removed again.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many pods start at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pods: u16,
    /// How often each arm is run.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The node; default: the first one that takes pods.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Write the figures as JSON to a file, or with `-` to standard output in place of the table.
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
    // What was measured before a failure is printed, too.
    let figures = format!("{:#}\n", json!({ "rounds": rounds }));
    match arguments.json.as_deref() {
        Some(file) if file == Path::new("-") => print!("{figures}"),
        Some(file) => {
            print!("{}", table(&rounds));
            fs::write(file, figures).tried(|| format!("writing {}", file.display()))?;
        }
        None => print!("{}", table(&rounds)),
    }
    result
}
