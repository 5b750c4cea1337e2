//! Runs a scenario on the model of a node, for `tests/cluster/models.rs`; see `podlocal_harness::model::comparison`.

use std::io::stdin;
use std::process::ExitCode;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::comparison::{Scenario, run};
use podlocal_harness::model::node::{self, EXIT_REFUSED, Node};
use podlocal_harness::programs::Programs;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    // Before any thread starts.
    let node = match node::enter() {
        Ok(node) => node,
        Err(refused) => {
            eprintln!("model-node: {refused}");
            return ExitCode::from(EXIT_REFUSED);
        }
    };
    match run_scenario(&node) {
        Ok(outcomes) => {
            println!("{outcomes}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("model-node: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run_scenario(node: &Node) -> Result<String, Failure> {
    let scenario: Scenario =
        serde_json::from_reader(stdin()).with_context("reading the scenario from standard input")?;
    let runtime = Runtime::new().with_context("starting a tokio runtime")?;
    let outcomes = runtime.block_on(run(&scenario, node, &Programs::built()?))?;
    serde_json::to_string(&outcomes).with_context("writing the outcomes")
}
