//! What a hostile neighbour costs others: attacks on the tier, a sidecar and the webhook of a real cluster, while a victim
//! is measured.
//!
//! ```text
//!   attack     the attacks: what they aim at, and what they do
//!   send       the attacker, a process of its own with the lowest priority: connections, queries, forged datagrams, reviews
//!   server     the upstream of the attacked tier: it answers, delays, loses, and returns answers that are costly to read
//!   target     what is attacked: a tier or a pod of the experiment, the installed webhook; its memory and restarts
//!   victim     hits and misses of another pod, creations of other pods
//!   table      the results -> what is printed, and which promises are broken
//! ```
//!
//! The program runs on the node: every address of [`SOURCES`] leads to it, so that it is as many pods as it needs.

pub mod attack;
pub mod message;
pub mod send;
pub mod server;
pub mod table;
pub mod target;
pub mod victim;

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use self::attack::{Aim, Attack};
use self::server::Server;
use self::table::Outcome;
use self::target::Target;
use self::victim::Victim;

/// The addresses of the attackers, of the victim and of the upstream: private, as pods have them, and none of the cluster's.
pub const SOURCES: &str = "10.250.0.0/16";

/// Where the attacked tier finds its upstream.
pub const UPSTREAM: Ipv4Addr = Ipv4Addr::new(10, 250, 254, 1);

/// The pod whose lookups are measured.
pub const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 250, 255, 1);

/// What is run.
#[derive(Debug)]
pub struct Options {
    /// The attacks, in this order.
    pub attacks: Vec<Attack>,
    /// How long each lasts; the victim is measured as long before it.
    pub seconds: u16,
}

/// Runs the attacks one after the other, and adds each result to `outcomes` as soon as it is there.
pub async fn run(options: &Options, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
    let cluster = Cluster::connect().await?;
    product::install(&cluster).await?;
    let mut terminated = signal(SignalKind::terminate()).tried(|| "listening for SIGTERM".to_owned())?;
    route("replace").await?;
    let mut namespaces = Vec::new();
    let mut result = tokio::select! {
        result = all(options, &cluster, &mut namespaces, outcomes) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminated.recv() => Err(Failure::new("terminated")),
    };
    // All at once, and their pods end while others are waited for.
    for namespace in &namespaces {
        result = result.and(namespace.delete().await);
    }
    for namespace in &namespaces {
        result = result.and(namespace.is_gone().await);
    }
    result.and(route("delete").await)
}

/// Lets every address of [`SOURCES`] lead to this node, or no longer.
async fn route(verb: &str) -> Result<(), Failure> {
    let what = || format!("ip route {verb} local {SOURCES} dev lo");
    let status = Command::new("ip").args(["route", verb, "local", SOURCES, "dev", "lo"]).status().await;
    let status = status.tried(what)?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{}: {status}", what()))) }
}

async fn all(
    options: &Options,
    cluster: &Cluster,
    namespaces: &mut Vec<Namespace>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    let server = Server::start(UPSTREAM).await?;
    let length = Duration::from_secs(options.seconds.into());
    for &attack in &options.attacks {
        eprintln!("attacks: {}: {}", attack.name(), attack.what());
        let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
        let namespace = Namespace::create(cluster, "attacks", labels, &json!({})).await?;
        namespaces.push(namespace.clone());
        outcomes.push(one(attack, length, &namespace, &server).await?);
    }
    Ok(())
}

async fn one(
    attack: Attack,
    length: Duration,
    namespace: &Namespace,
    server: &Server,
) -> Result<Outcome, Failure> {
    let target = Target::start(attack.aim(), namespace).await?;
    let victim = match (attack.aim(), &target.load, target.addresses.first()) {
        (Aim::Sidecar, Some(load), _) => Victim::OfPod(load.clone()),
        (Aim::Tier, _, Some(address)) => Victim::OfTier(*address),
        _ => Victim::OfWebhook(namespace.cluster.clone()),
    };
    let before = victim.measure(length).await?;
    let asked = server.queries();
    let mut attacker = attacker(attack, &target)?;
    let (during, watched) = tokio::join!(victim.measure(length), target.watch(length));
    attacker.kill().await.tried(|| "stopping the attacker".to_owned())?;
    let upstream = (server.queries() - asked) as f64 / length.as_secs_f64();
    let events = target.events_of_attackers().await?;
    Ok(Outcome { attack, before, during: during?, watched: watched?, upstream, events })
}

/// The attacker: this program again, the least important one of the node, in the network namespace of a pod where it
/// attacks from within.
fn attacker(attack: Attack, target: &Target) -> Result<Child, Failure> {
    let program = std::env::current_exe().tried(|| "finding this program".to_owned())?;
    let mut words: Vec<String> = Vec::new();
    if let (true, Some(process)) = (attack.is_from_within(), target.process) {
        words.extend(["nsenter".to_owned(), "--net".to_owned(), format!("--target={process}")]);
    }
    words.extend(["nice", "-n", "19"].map(str::to_owned));
    words.extend([program.display().to_string(), "--attacker".to_owned(), attack.name()]);
    words.extend(target.addresses.iter().map(ToString::to_string));
    let mut command = Command::new(words.remove(0));
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().tried(|| format!("starting the attacker of {}", attack.name()))
}
