//! Compares `podlocal-webhook check` and `inject` of the built program with the objects that the cluster
//! stores.
//!
//! The pods name a scheduler that does not exist: these tests need only the objects in the API server, and a
//! pod that never starts costs a node nothing.

pub(crate) mod installation;
pub(crate) mod verdicts;

use std::path::PathBuf;
use std::sync::OnceLock;

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::command;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::programs;
use serde_json::{Value, json};
use tokio::process::Command;

/// The output of the program, and its exit code.
#[derive(Debug)]
pub(crate) struct Output {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Runs `podlocal-webhook` in the cluster of `KUBECONFIG`.
pub(crate) async fn run(arguments: &[&str]) -> Result<Output, Failure> {
    run_with_input(arguments, "").await
}

/// Runs `podlocal-webhook` with a text on standard input.
pub(crate) async fn run_with_input(arguments: &[&str], input: &str) -> Result<Output, Failure> {
    let mut command = Command::new(program()?);
    command.args(arguments);
    let output = command::output(command, input).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
}

/// The path of `podlocal-webhook`, which is built on first use.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built =
        PROGRAM.get_or_init(|| programs::build(programs::WEBHOOK).map_err(|failure| failure.to_string()));
    built.clone().map_err(Failure::new)
}

/// The JSON document that `check --json` prints.
async fn report(arguments: &[&str]) -> Result<Value, Failure> {
    let ran = run(&[&["check", "--json"], arguments].concat()).await?;
    serde_json::from_str(&ran.stdout)
        .with_context(|| format!("reading what check {arguments:?} printed: {ran:?}"))
}

/// A pod that no scheduler places on a node.
fn pending_pod(name: &str) -> Value {
    let mut pod = pod(name, Libc::Musl, &SLEEP);
    pod["spec"]["schedulerName"] = json!("nobody");
    pod
}
