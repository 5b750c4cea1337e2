//! Attacks of a hostile neighbour, as `just attacks` runs them, with the limits of the manifests. Goals that
//! depend on time are measured there and not asserted here.

use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::programs;
use tokio::process::Command;

use crate::runner::Context;

/// How long each attack lasts: twice the kubelet's period of a readiness probe.
const SECONDS: &str = "4";

pub(crate) async fn no_attack_restarts_anything_or_fails_a_lookup_of_another_pod(
    _: Context,
) -> Result<(), Failure> {
    let running = "running attacks";
    let mut attacks = Command::new(programs::build("attacks")?);
    let output =
        attacks.args(["--seconds", SECONDS]).kill_on_drop(true).output().await.with_context(running)?;
    let [table, progress] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    eprint!("{table}");
    assert!(output.status.success(), "{progress}\n{table}");
    Ok(())
}
