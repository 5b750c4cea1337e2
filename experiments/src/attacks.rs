//! The effect of a hostile neighbour: attacks on the shared tier, a sidecar and the webhook of a real
//! cluster, while a victim is measured.
//!
//! ```text
//!   attack     the attacks: their targets and their methods
//!   send       the attacker, a separate process with low priority: connections, queries, forged datagrams
//!   server     the upstream of the attacked tier: answers, delays, drops, and sends costly answers
//!   target     the target: a tier, a pod or the installed webhook; its memory and restarts
//!   victim     hits and misses of another pod, or creations of other pods
//!   table      the results -> the printed table, and the broken promises
//! ```
//!
//! The program runs on the node. The node routes every address of [`SOURCES`] to it, so that one process can
//! act as many pods.

pub mod attack;
pub mod send;
pub mod server;
pub mod table;
pub mod target;
pub mod victim;

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum as _;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::json;
use tokio::process::{Child, Command};

use self::attack::{Attack, TargetKind};
use self::server::Server;
use self::table::Outcome;
use self::target::Target;
use self::victim::Victim;
use crate::program::until_signal;

/// The addresses of the attackers, of the victim and of the upstream: private addresses like those of pods,
/// outside the ranges of the cluster.
pub const SOURCES: &str = "10.250.0.0/16";

/// The address of the upstream of the attacked tier.
pub const UPSTREAM: Ipv4Addr = Ipv4Addr::new(10, 250, 254, 1);

/// The pod whose lookups are measured.
pub const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 250, 255, 1);

/// The options of a run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The attacks to run; default: all.
    #[arg(value_enum)]
    attacks: Vec<Attack>,
    /// Duration of each attack in seconds; the victim is measured for the same time before it.
    #[arg(long, value_name = "NUMBER", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

/// Runs the attacks one after the other, and adds each result to `outcomes` as soon as it is known.
pub async fn run(options: &Options, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
    let cluster = Cluster::connect().await?;
    product::install(&cluster).await?;
    route("replace").await?;
    let mut namespaces = Vec::new();
    let mut result = until_signal(Box::pin(run_attacks(options, &cluster, &mut namespaces, outcomes))).await;
    // All deletions start first, so that the namespaces end in parallel.
    for namespace in &namespaces {
        result = result.and(namespace.delete().await);
    }
    for namespace in &namespaces {
        result = result.and(namespace.wait_until_gone().await);
    }
    result.and(route("delete").await)
}

/// Adds or deletes the route that leads every address of [`SOURCES`] to this node.
async fn route(verb: &str) -> Result<(), Failure> {
    let what = || format!("ip route {verb} local {SOURCES} dev lo");
    let status = Command::new("ip").args(["route", verb, "local", SOURCES, "dev", "lo"]).status().await;
    let status = status.with_context(what)?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{}: {status}", what()))) }
}

async fn run_attacks(
    options: &Options,
    cluster: &Cluster,
    namespaces: &mut Vec<Namespace>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    let server = Server::start(UPSTREAM).await?;
    let length = Duration::from_secs(options.seconds.into());
    let chosen = &options.attacks[..];
    for &attack in if chosen.is_empty() { Attack::value_variants() } else { chosen } {
        eprintln!("attacks: {}: {}", attack.name(), attack.description());
        let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
        let namespace = Namespace::create(cluster, "attacks", labels, &json!({})).await?;
        namespaces.push(namespace.clone());
        outcomes.push(run_attack(attack, length, &namespace, &server).await?);
    }
    Ok(())
}

async fn run_attack(
    attack: Attack,
    length: Duration,
    namespace: &Namespace,
    server: &Server,
) -> Result<Outcome, Failure> {
    let target = Target::start(attack.target_kind(), namespace).await?;
    let victim = match (attack.target_kind(), &target.load, target.addresses.first()) {
        (TargetKind::Sidecar, Some(load), _) => Victim::Application(load.clone()),
        (TargetKind::Tier, _, Some(address)) => Victim::TierClient(*address),
        _ => Victim::PodCreations(namespace.cluster.clone()),
    };
    let before = victim.measure(length).await?;
    let asked = server.queries();
    let mut attacker = attacker(attack, &target)?;
    let (during, watched) = tokio::join!(victim.measure(length), target.watch(length));
    attacker.kill().await.with_context("stopping the attacker")?;
    let upstream = (server.queries() - asked) as f64 / length.as_secs_f64();
    let events = target.events_of_attackers().await?;
    Ok(Outcome { attack, before, during: during?, watched: watched?, upstream, events })
}

/// The attacker: this program again, with the lowest priority of the node; in the network namespace of the
/// attacked pod when the attack comes from within.
fn attacker(attack: Attack, target: &Target) -> Result<Child, Failure> {
    let program = std::env::current_exe().with_context("finding this program")?;
    let mut words: Vec<String> = Vec::new();
    if let (true, Some(process)) = (attack.is_from_within(), target.process) {
        words.extend(["nsenter".to_owned(), "--net".to_owned(), format!("--target={process}")]);
    }
    words.extend(["nice", "-n", "19"].map(str::to_owned));
    words.extend([program.display().to_string(), "--attacker".to_owned(), attack.name()]);
    words.extend(target.addresses.iter().map(ToString::to_string));
    let mut command = Command::new(words.remove(0));
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting the attacker of {}", attack.name()))
}
