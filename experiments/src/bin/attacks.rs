//! Measures the effect of a hostile neighbour; see `podlocal_experiments::attacks`.

use std::env;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use podlocal_experiments::attacks::attack::Attack;
use podlocal_experiments::attacks::table::{Outcome, table};
use podlocal_experiments::attacks::{self, Options, send};
use podlocal_experiments::program::{JsonFlag, exit_code};
use podlocal_harness::cluster::NODE_EXEC_VARIABLE;
use podlocal_harness::failure::{Failure, WithContext as _};
use serde_json::json;
use tokio::process::Command;

/// Marks the process that was started on the node.
const ON_NODE: &str = "PODLOCAL_ATTACKS_ON_NODE";

/// Attacks a shared tier, a sidecar and the webhook on the cluster of KUBECONFIG, and measures another pod
/// during each attack: how many of its hits are answered, how fast, and whether its misses succeed. It also
/// measures the memory and the restarts of the target.
///
/// The program needs root on the node: CLUSTER_NODE_EXEC is the command that runs commands there, and this
/// program uses it to start itself. On the test cluster: `just cluster up`, `just cluster load`, eval "$(just
/// cluster env)". The webhook is installed when it is missing. Exits with 1 when a promise is broken; missed
/// goals that depend on time are only printed.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    json: JsonFlag,
    /// Run only the attacker, against these addresses.
    #[arg(long, hide = true, num_args = 2.., value_names = ["ATTACK", "ADDRESS"])]
    attacker: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if !arguments.attacker.is_empty() {
        run_attacker(&arguments.attacker).await.map(|()| true)
    } else if env::var_os(ON_NODE).is_none() {
        on_node().await
    } else {
        run(&arguments).await
    };
    exit_code("attacks", result)
}

async fn run_attacker(words: &[String]) -> Result<(), Failure> {
    let (attack, addresses) = words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
    let attack = Attack::from_str(attack, false).map_err(Failure::new)?;
    let addresses: Result<Vec<Ipv4Addr>, _> = addresses.iter().map(|word| word.parse()).collect();
    send::attack(attack, &addresses.with_context("reading the addresses of the targets")?).await
}

/// Runs this program with the same arguments on the node.
async fn on_node() -> Result<bool, Failure> {
    let words = env::var(NODE_EXEC_VARIABLE).ok().filter(|words| !words.trim().is_empty());
    let words = words.ok_or_else(|| {
        Failure::new(format!(
            "{NODE_EXEC_VARIABLE} is not set: it is the command that runs commands on the node; set it with: eval \"$(just cluster env)\""
        ))
    })?;
    let mut words = words.split_whitespace();
    let program = env::current_exe().with_context("finding this program")?;
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program).args(env::args_os().skip(1)).env(ON_NODE, "1");
    let status = command.status().await.with_context("running this program on the node")?;
    Ok(status.success())
}

async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let mut outcomes = Vec::new();
    let result = attacks::run(&arguments.options, &mut outcomes).await;
    // After a failure, the results so far are printed as well.
    arguments.json.write(&json!({ "outcomes": outcomes }), &table(&outcomes))?;
    result?;
    Ok(outcomes.iter().all(|outcome: &Outcome| outcome.broken_promises().is_empty()))
}
