//! Runs programs of the machine.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::failure::{Failure, WithContext};

/// Runs a command with a text on standard input, and returns its standard output. It must succeed.
pub async fn run(command: Command, input: &str) -> Result<String, Failure> {
    let described = format!("{:?}", command.as_std());
    let Output { status, stdout, stderr } = output(command, input).await?;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if status.success() {
        return Ok(stdout);
    }
    Err(Failure::new(format!("{described}: {status}: {}{}", stdout.trim(), stderr.trim())))
}

/// Runs a command with a text on standard input, and returns its output and its exit status.
pub async fn output(mut command: Command, input: &str) -> Result<Output, Failure> {
    let running = format!("running {:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(running.as_str())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input may have ended already; its exit status is checked.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await.with_context(running.as_str())
}
