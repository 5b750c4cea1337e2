//! `podlocal-webhook check` and `inject`, the built program, against what the cluster stores.
//!
//! Pods here have a scheduler that does not exist: what counts is what the API server made of them, and a pod that
//! never starts costs a node nothing.

mod installation;
mod verdicts;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_tests::programs::Programs;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::runner::Test;

pub(crate) fn tests() -> Vec<Test> {
    [installation::tests(), verdicts::tests()].into_iter().flatten().collect()
}

/// What the program printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Runs `podlocal-webhook` in the cluster of `KUBECONFIG`.
pub(crate) async fn run(arguments: &[&str]) -> Result<Ran, Failure> {
    run_with_input(arguments, "").await
}

/// The same with a text on standard input.
pub(crate) async fn run_with_input(arguments: &[&str], input: &str) -> Result<Ran, Failure> {
    let what = || format!("running podlocal-webhook {}", arguments.join(" "));
    let mut command = Command::new(program()?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().tried(what)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.tried(what)?;
    }
    let output = child.wait_with_output().await.tried(what)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() })
}

/// `podlocal-webhook`, built when it is needed first.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = PROGRAM.get_or_init(|| Programs::build_webhook().map_err(|failure| failure.to_string()));
    built.clone().map_err(Failure::new)
}

/// The document that `check --json` prints.
async fn report(arguments: &[&str]) -> Result<Value, Failure> {
    let ran = run(&[&["check", "--json"], arguments].concat()).await?;
    serde_json::from_str(&ran.stdout).tried(|| format!("reading what check {arguments:?} printed: {ran:?}"))
}

/// A pod that nobody schedules.
fn pending_pod(name: &str) -> Value {
    let mut pod = pod(name, Libc::Musl, &SLEEP);
    pod["spec"]["schedulerName"] = json!("nobody");
    pod
}
