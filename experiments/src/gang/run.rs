//! Runs one arm: all pods start together, and are restarted after one has failed.

use std::fs::OpenOptions;
use std::path::Path;

use futures_util::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _, iter};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use podlocal_harness::time::now;
use serde_json::Value;

use super::arm::Arm;
use super::figures::Figures;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::admission::Webhook;
use podlocal_harness::model::cluster::Cluster;
use podlocal_harness::model::cluster_dns::{Capacity, World};
use podlocal_harness::model::job::Job;
use podlocal_harness::model::lookup::{BARRIER_VARIABLE, Lookup, WAITING};
use podlocal_harness::model::node::Node;
use podlocal_harness::model::pod::{Running, Status};
use podlocal_harness::programs::Programs;

/// The number of pods that start at the same time per core: enough that no core idles, and few enough that a
/// pod does not mostly wait for others.
const STARTS_PER_CORE: usize = 2;

/// The parameters of the experiment, the same in every arm.
#[derive(Debug)]
pub struct Experiment {
    /// The node on which the pods run.
    pub node: Node,
    /// The programs under test and the tools.
    pub programs: Programs,
    /// The gang's Job.
    pub job: Job,
    /// The number of pods.
    pub pods: usize,
    /// The names that exist.
    pub world: World,
    /// The capacity of cluster DNS; `None`: unlimited.
    pub capacity: Option<Capacity>,
    /// The maximum number of restarts of the gang.
    pub restarts: u32,
}

/// Runs an arm.
pub async fn run(arm: Arm, experiment: &Experiment) -> Result<Figures, Failure> {
    let Experiment { node, programs, job, world, .. } = experiment;
    let world = world.clone().namespace(job.namespace());
    let dns_path = arm.dns_path().ok_or_else(|| Failure::new(format!("no model of {}", arm.name())))?;
    let cluster = Cluster::start(dns_path, node, programs, world).await?;
    let directory = node.directory(&format!("gang-{arm:?}"))?;
    let mut figures = Figures::new(arm, experiment.pods);
    let mut first_start = None;
    for attempt in 0..=experiment.restarts {
        figures.restarts = attempt;
        let report = |step: &str| match attempt {
            0 => eprintln!("{}: {step}", arm.name()),
            _ => eprintln!("{}, restart {attempt}: {step}", arm.name()),
        };
        report(&format!("starting {} pods", experiment.pods));
        let barrier = directory.join(format!("start-{attempt}"));
        mkfifo(&barrier, Mode::from_bits_truncate(0o666))
            .with_context(|| format!("making {}", barrier.display()))?;
        let gang = start_all(&cluster, arm, experiment, &barrier).await?;
        report("looking up");
        if let (None, Some(capacity)) = (first_start, experiment.capacity) {
            cluster.dns.set_capacity(capacity);
        }
        let start = *first_start.get_or_insert_with(now);
        // Opening a FIFO for reading and writing never blocks (fifo(7)). It releases every pod at the
        // barrier.
        let open = OpenOptions::new().read(true).write(true).open(&barrier);
        let _open = open.with_context(|| format!("opening {}", barrier.display()))?;
        let has_started = figures.watch(job.application(), &gang, start).await;
        report(if has_started { "started" } else { "failed" });
        if has_started {
            break;
        }
        figures.started_seconds.clear();
    }
    figures.finish(cluster.dns.counts());
    if !figures.is_success() {
        let log = cluster.webhook().map(Webhook::describe);
        figures.first_failure.get_or_insert_default().push_str(&log.unwrap_or_default());
    }
    Ok(figures)
}

impl Figures {
    /// Waits until every application has ended, or until one has failed, which fails the gang.
    async fn watch(&mut self, application: &str, gang: &[Running], start: f64) -> bool {
        let mut ends: FuturesUnordered<_> = gang.iter().map(Running::wait_until_finished).collect();
        let mut failure = None;
        while let Some(end) = ends.next().await {
            let container = end.as_ref().ok().and_then(|status| status.container(application));
            failure = match &end {
                Ok(status) if status.exit(application).is_some_and(|exit| exit.success()) => {
                    let at = container.and_then(|it| it.exit).map_or(start, |(_, at)| at);
                    self.started_seconds.push(at - start);
                    continue;
                }
                Ok(status) => Some(status.describe()),
                Err(failure) => Some(failure.to_string()),
            };
            break;
        }
        drop(ends);
        // After a failure the other pods are stopped early; their finished lookups count.
        for pod in gang {
            let status = pod.status();
            let output = status.container(application).map_or("", |container| container.output.as_str());
            self.add(&Lookup::read_all(output));
        }
        let Some(failure) = failure else { return true };
        self.failed_pods += 1;
        self.first_failure.get_or_insert(failure);
        false
    }
}

/// Starts all pods, until their applications wait at the barrier.
async fn start_all(
    cluster: &Cluster,
    arm: Arm,
    experiment: &Experiment,
    barrier: &Path,
) -> Result<Vec<Running>, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let start = |index| start(cluster, &experiment.job, arm.pod(experiment.job.pod(index)), barrier);
    let starting = iter(0..experiment.pods).map(start).buffer_unordered(cores * STARTS_PER_CORE);
    starting.try_collect().await
}

async fn start(cluster: &Cluster, job: &Job, pod: Value, barrier: &Path) -> Result<Running, Failure> {
    let mut spec = cluster.admit(pod, job.namespace()).await?;
    spec.environment.insert(BARRIER_VARIABLE.to_owned(), barrier.display().to_string());
    let running = cluster.run(spec)?;
    let is_waiting = |status: &Status| {
        let container = status.container(job.application());
        container.is_some_and(|container| container.error.contains(WAITING) || container.exit.is_some())
    };
    running.wait_for("the application at the barrier", is_waiting).await?;
    Ok(running)
}
