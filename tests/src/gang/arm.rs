//! One arm of the experiment: all pods of the gang, run one way.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::job::Job;
use super::{BARRIER_VARIABLE, Lookup, WAITING};
use crate::cluster::Cluster;
use crate::cluster_dns::{Transport, World};
use crate::failure::{Failure, Tried};
use crate::node::Node;
use crate::pod::{Exit, Running, Status};
use crate::programs::Programs;

/// How many pods are started at one time for each core: so many that no core waits, so few that the time that
/// a pod takes to start is not mostly that of the others.
const STARTS_PER_CORE: usize = 2;

/// How the pods are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// As they are: dnsPolicy ClusterFirst, `ndots:5`, straight to the cluster DNS.
    Direct,
    /// Through the webhook, with the sidecar.
    Injected,
}

impl Arm {
    /// The arms, in the order in which they are run and printed.
    pub const ALL: [Self; 2] = [Self::Direct, Self::Injected];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, ndots:5",
            Self::Injected => "with PodLocal DNS",
        }
    }
}

/// What came of an arm.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// How the pods were run.
    pub arm: Arm,
    /// How many pods.
    pub pods: usize,
    /// Pods whose application did not run to exit code 0.
    pub failed_pods: usize,
    /// Queries that the cluster DNS got by UDP.
    pub queries_udp: u64,
    /// Queries that the cluster DNS got by TCP.
    pub queries_tcp: u64,
    /// How long each look-up took, in milliseconds, ascending; answered or not.
    pub lookup_milliseconds: Vec<f64>,
    /// Look-ups that gave what the application expected.
    pub answered: usize,
    /// Look-ups that did not.
    pub failed: usize,
    /// From the creation of each pod to the start of its application, in seconds, ascending. Pods are
    /// started a few at a time.
    pub start_seconds: Vec<f64>,
    /// What is known about the first pod that failed.
    pub first_failure: Option<String>,
}

impl Figures {
    /// All queries that the cluster DNS got.
    pub fn queries(&self) -> u64 {
        self.queries_udp + self.queries_tcp
    }

    /// Whether every application ran, and got what it expected.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.failed_pods == 0
    }
}

/// Runs the gang.
pub async fn run(
    arm: Arm,
    node: &Node,
    programs: &Programs,
    job: &Job,
    pods: usize,
) -> Result<Figures, Failure> {
    let world = World::example().namespace(job.namespace());
    let cluster = match arm {
        Arm::Direct => Cluster::start(node, programs, world).await?,
        Arm::Injected => Cluster::start_with_webhook(node, programs, world).await?,
    };
    let barrier = node.directory(&format!("gang-{arm:?}"))?.join("start");
    mkfifo(&barrier, Mode::from_bits_truncate(0o666)).tried(|| format!("making {}", barrier.display()))?;

    let progress = progress(arm, pods);
    let gang = start_all(&cluster, job, pods, &barrier, &progress).await?;
    progress.tell("looking up");
    // Open for reading and writing: fifo(7), that never waits. It lets every pod at the barrier go.
    let open = OpenOptions::new().read(true).write(true).open(&barrier);
    let _open = open.tried(|| format!("opening {}", barrier.display()))?;

    let mut figures = Figures {
        arm,
        pods,
        failed_pods: 0,
        queries_udp: 0,
        queries_tcp: 0,
        lookup_milliseconds: Vec::new(),
        answered: 0,
        failed: 0,
        start_seconds: Vec::new(),
        first_failure: None,
    };
    let mut ends: FuturesUnordered<_> = gang.iter().map(|member| member.running.finished()).collect();
    while let Some(end) = ends.next().await {
        figures.add(job.application(), end);
        progress.advance();
    }
    drop(ends);
    progress.finish();

    let counts = cluster.dns.counts();
    (figures.queries_udp, figures.queries_tcp) = (counts.over(Transport::Udp), counts.over(Transport::Tcp));
    figures.start_seconds = gang.iter().map(|member| member.start_seconds).collect();
    figures.start_seconds.sort_by(f64::total_cmp);
    figures.lookup_milliseconds.sort_by(f64::total_cmp);
    if let Some(webhook) = cluster.webhook().filter(|_| !figures.is_success()) {
        figures.first_failure.get_or_insert_default().push_str(&webhook.describe());
    }
    Ok(figures)
}

impl Figures {
    fn add(&mut self, application: &str, end: Result<Status, Failure>) {
        let lookups = end.as_ref().ok().and_then(|status| status.container(application));
        for lookup in lookups.map(|container| Lookup::read_all(&container.output)).unwrap_or_default() {
            self.lookup_milliseconds.push(lookup.milliseconds);
            if lookup.as_expected {
                self.answered += 1;
            } else {
                self.failed += 1;
            }
        }
        let description = match end {
            Ok(status) if status.exit(application).is_some_and(Exit::is_success) => return,
            Ok(status) => status.describe(),
            Err(failure) => failure.to_string(),
        };
        self.failed_pods += 1;
        self.first_failure.get_or_insert(description);
    }
}

/// A pod whose application waits at the barrier.
struct Member {
    running: Running,
    start_seconds: f64,
}

async fn start_all(
    cluster: &Cluster,
    job: &Job,
    pods: usize,
    barrier: &Path,
    progress: &Progress,
) -> Result<Vec<Member>, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let starts = Arc::new(Semaphore::new(cores * STARTS_PER_CORE));
    let start = |index| {
        let starts = Arc::clone(&starts);
        async move {
            let _permit = starts.acquire_owned().await.tried(|| "waiting for a turn".to_owned())?;
            start(cluster, job, index, barrier).await
        }
    };
    let mut members = Vec::with_capacity(pods);
    let mut starting: FuturesUnordered<_> = (0..pods).map(start).collect();
    while let Some(member) = starting.next().await {
        members.push(member?);
        progress.advance();
    }
    Ok(members)
}

async fn start(cluster: &Cluster, job: &Job, index: usize, barrier: &Path) -> Result<Member, Failure> {
    let created = now();
    let admitted = cluster.admit(job.pod(index), job.namespace()).await?;
    let mut spec = cluster.spec(admitted, job.namespace());
    spec.environment.insert(BARRIER_VARIABLE.to_owned(), barrier.display().to_string());
    let running = cluster.run(spec)?;
    let application = job.application();
    let is_waiting = |status: &Status| {
        let container = status.container(application);
        container.is_some_and(|container| container.error.contains(WAITING) || !container.exits.is_empty())
    };
    let status = running.wait_for("the application at the barrier", is_waiting).await?;
    let started_at = status.container(application).map_or(created, |container| container.started_at);
    Ok(Member { running, start_seconds: started_at - created })
}

fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Progress on standard error: a bar on a terminal, else a line per step.
struct Progress {
    arm: Arm,
    bar: ProgressBar,
}

fn progress(arm: Arm, pods: usize) -> Progress {
    // Each pod starts, and ends.
    let bar = ProgressBar::new(2 * pods as u64);
    let style = ProgressStyle::with_template("{prefix:18} {bar:40} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(arm.name());
    let progress = Progress { arm, bar };
    progress.tell(&format!("starting {pods} pods"));
    progress
}

impl Progress {
    fn tell(&self, step: &str) {
        if self.bar.is_hidden() {
            eprintln!("{}: {step}", self.arm.name());
        }
        self.bar.set_message(step.to_owned());
    }

    fn advance(&self) {
        self.bar.inc(1);
    }

    fn finish(self) {
        self.tell("done");
        self.bar.finish();
    }
}
