//! The gang experiment, on one machine without a cluster or on a real one; see `podlocal_experiments::gang`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::gang::arm::Arm;
use podlocal_experiments::gang::cluster::{self, parse_limit};
use podlocal_experiments::gang::law::{self, Cost};
use podlocal_experiments::gang::names::with_names;
use podlocal_experiments::gang::run::{self, Experiment};
use podlocal_experiments::gang::{charts, figures};
use podlocal_experiments::plot::PlotFlag;
use podlocal_experiments::program::{JsonFlag, exit_code};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::cluster_dns::{Capacity, World};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::model::node::{self, Node};
use podlocal_harness::programs::Programs;
use serde_json::json;

/// Runs the pods of a Job on this machine: unchanged, with ndots:2, injected by the real webhook with the
/// real sidecar, and the same with the shared tier. All pods look up their names at the same time, with the
/// real libc, at a cluster DNS that serves a fixed number of queries per second. When one pod fails, all are
/// restarted. Prints and plots the queries that cluster DNS received and the results of the applications.
///
/// The cluster DNS of this experiment is a model of CoreDNS with a CPU limit of 10 millicores: it accepts
/// every query and becomes slow. With --cluster it is a real CoreDNS.
///
/// Needs no cluster, no root and no Internet, but kernel namespaces. Exit code 1: a lookup failed in an
/// injected pod, or an injected arm was worse than the arm `direct`. Worse means, as medians of the runs:
/// more failed lookups, more queries to cluster DNS, or a larger p50 or p99 of the time until a pod has its
/// answers. Exit code 69: this machine does not allow the namespaces.
///
/// With --cluster it runs the same arms, and one with NodeLocal DNSCache, on the test cluster of KUBECONFIG,
/// with real pods and the CoreDNS of that cluster, whose CPU it limits. Afterwards the settings of CoreDNS
/// are restored. Exit code 1: an injected arm was worse than the arm `direct`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Manifest of a Job; default: a built-in one with 100 pods and 3 names each.
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    /// Number of pods; default: the Job's parallelism.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pods: Option<u16>,
    /// Names that the pods look up, instead of those of the Job; a name that the experiment does not know is
    /// added to its DNS.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    names: Vec<String>,
    /// Names that the pods look up in addition to --names, and that must not exist.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', requires = "names")]
    missing: Vec<String>,
    /// Run on the cluster of KUBECONFIG, with 80 pods by default; `just cluster up` starts one.
    #[arg(long, conflicts_with_all = ["job", "service_rate", "queue", "loss", "seed", "unlimited", "restarts", "plot"])]
    cluster: bool,
    /// CPU limits of CoreDNS, which are used in turn; `none` for no limit.
    #[arg(long, value_name = "LIMIT,..", value_delimiter = ',', default_value = "10m", requires = "cluster", value_parser = parse_limit)]
    coredns_cpu: Vec<String>,
    /// Context of KUBECONFIG whose CoreDNS may be limited, although it is neither the test cluster nor kind.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    allow_context: Option<String>,
    /// Queries per second that cluster DNS answers.
    #[arg(long, value_name = "NUMBER", default_value = "60", value_parser = Capacity::parse_rate)]
    service_rate: f64,
    /// Datagrams that can wait at cluster DNS; more are dropped. Default: no limit, as with the real CoreDNS.
    #[arg(long, value_name = "NUMBER")]
    queue: Option<usize>,
    /// Share of datagrams that are lost on the network, in each direction.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = Capacity::parse_loss)]
    loss: f64,
    /// Seed for the lost datagrams.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Use a cluster DNS that answers immediately and loses nothing, instead of the four options above;
    /// without --plot nothing is drawn.
    #[arg(long)]
    unlimited: bool,
    /// Number of restarts of a gang after one of its pods has failed.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    restarts: u32,
    /// Arms to run; default: all, `node-local` only with --cluster.
    #[arg(long, value_name = "ARM,..", value_enum, value_delimiter = ',')]
    arms: Vec<Arm>,
    /// Number of runs of each arm; the arms run in turn.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    plot: PlotFlag,
}

/// Runs before any thread starts, because entering the node needs a process with a single thread.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.cluster {
        return exit_code("gang", run_on_cluster(&arguments));
    }
    match prepare(&arguments) {
        Ok(prepared) => match node::enter() {
            Ok(node) => exit_code("gang", run(&arguments, prepared, node)),
            Err(refused) => {
                eprintln!("gang: {refused}");
                ExitCode::from(node::EXIT_REFUSED)
            }
        },
        Err(failure) => exit_code("gang", Err(failure)),
    }
}

struct Prepared {
    arms: Vec<Arm>,
    job: Job,
    world: World,
    programs: Programs,
}

/// Builds the programs. The process outside the node builds them; the process inside runs this function again
/// and finds them built.
fn prepare(arguments: &Arguments) -> Result<Prepared, Failure> {
    let job = match &arguments.job {
        Some(file) => fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
        None => DEFAULT_MANIFEST.to_owned(),
    };
    let mut job = Job::read(&job)?;
    if !arguments.names.is_empty() {
        job = job.looking_up(&arguments.names, &arguments.missing);
    }
    let arms = Arm::choose(&arguments.arms, false)?;
    let world = with_names(World::example(), job.namespace(), &arguments.names)?;
    let programs = if node::is_inside() { Programs::built() } else { Programs::build() };
    Ok(Prepared { arms, job, world, programs: programs? })
}

/// Returns whether every lookup of the injected pods gave the expected result, and no injected arm was worse.
#[tokio::main]
async fn run(arguments: &Arguments, prepared: Prepared, node: Node) -> Result<bool, Failure> {
    let Prepared { arms, job, world, programs } = prepared;
    let pods = arguments.pods.map_or_else(|| job.parallelism(), usize::from);
    let capacity = (!arguments.unlimited).then_some(Capacity {
        per_second: arguments.service_rate,
        queue: arguments.queue,
        loss: arguments.loss,
        seed: arguments.seed,
    });
    let restarts = arguments.restarts;
    let experiment = Experiment { node, programs, job, pods, world, capacity, restarts };
    let mut results = Vec::new();
    for _ in 0..arguments.runs {
        for arm in &arms {
            results.push(run::run(*arm, &experiment).await?);
        }
    }
    // The results are printed before the files are written, so that they are not lost when that fails.
    let job = experiment.job.name();
    let json = json!({ "job": job, "capacity": capacity, "restarts": restarts, "arms": results });
    arguments.json.write(&json, &figures::table(&results))?;
    if capacity.is_some() || arguments.plot.is_given() {
        arguments.plot.write(&charts::page(title(&experiment), &results), "gang")?;
    }
    let injected = results.iter().filter(|figures| figures.arm.is_injected());
    let mut is_success = true;
    for failed in injected.filter(|figures| !figures.is_success()) {
        is_success = false;
        let first = failed.first_failure.as_deref().unwrap_or("no pod failed");
        let arm = failed.arm.name();
        eprintln!("gang: {arm}: a lookup failed in an injected pod. The first pod that failed:\n{first}");
    }
    let cost = |cost: Cost| if capacity.is_some() { cost } else { law::without_times(cost) };
    let costs: Vec<_> = results.iter().map(|figures| (figures.arm, cost(figures.cost()))).collect();
    Ok(report(&law::breaches(&costs)) && is_success)
}

/// Prints the regressions of injection. Returns whether there are none.
fn report(breaches: &[String]) -> bool {
    for breach in breaches {
        eprintln!("gang: worse than without injection: {breach}");
    }
    breaches.is_empty()
}

/// Runs on the cluster. Returns whether no injected arm is worse than the arm `direct` with the same limit.
#[tokio::main]
async fn run_on_cluster(arguments: &Arguments) -> Result<bool, Failure> {
    let (names, missing) = if arguments.names.is_empty() {
        (cluster::NAMES.map(str::to_owned).into(), cluster::MISSING.map(str::to_owned).into())
    } else {
        (arguments.names.clone(), arguments.missing.clone())
    };
    let options = cluster::Options {
        arms: Arm::choose(&arguments.arms, true)?,
        pods: arguments.pods.unwrap_or(cluster::PODS).into(),
        names,
        missing,
        limits: arguments.coredns_cpu.clone(),
        runs: arguments.runs,
        allowed: arguments.allow_context.clone(),
    };
    let mut arms = Vec::new();
    let result = cluster::run(&options, &mut arms).await;
    // After a failure, the results so far are printed as well.
    if !arms.is_empty() {
        let json = json!({ "names": options.names, "missing": options.missing, "arms": arms });
        arguments.json.write(&json, &cluster::figures::table(&arms))?;
    }
    result?;
    Ok(report(&cluster::breaches(&arms)))
}

fn title(experiment: &Experiment) -> String {
    let pods = experiment.pods;
    match experiment.capacity {
        None => format!("{pods} pods start at the same time"),
        Some(Capacity { per_second, loss, .. }) => format!(
            "{pods} pods start at the same time; cluster DNS: {per_second} queries/s, {} % loss",
            loss * 100.0
        ),
    }
}
