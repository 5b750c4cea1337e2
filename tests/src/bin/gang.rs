//! The gang experiment, on one machine without a cluster or on a real one; see `podlocal_tests::gang`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use podlocal_tests::cluster_dns::{Capacity, World};
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::gang::arm::Arm;
use podlocal_tests::gang::charts;
use podlocal_tests::gang::cluster::{self, parse_limit};
use podlocal_tests::gang::figures::Figures;
use podlocal_tests::gang::job::{DEFAULT_MANIFEST, Job};
use podlocal_tests::gang::law;
use podlocal_tests::gang::names::with_names;
use podlocal_tests::gang::run::{self, Experiment};
use podlocal_tests::gang::table::table;
use podlocal_tests::node::{self, Node};
use podlocal_tests::plot::PlotFlag;
use podlocal_tests::programs::Programs;
use serde_json::{Value, json};

/// Runs the pods of a Job on this machine: as they are, with ndots:2, through the real webhook with the real sidecar, and the
/// same with the shared tier. All look their names up at the same instant, with
/// the real libc, at a cluster DNS that serves so many queries a second. When one pod fails, all are started again. Prints
/// what the cluster DNS was asked and what the applications saw, and draws it.
///
/// The cluster DNS of this experiment is a model of CoreDNS with a CPU limit of 10 millicores: it accepts every query and
/// becomes slow. With --cluster it is the real one.
///
/// Needs no cluster, no root and no Internet, but namespaces of the kernel. Exit code 1: a lookup failed in an injected pod, or
/// an injected arm was worse than the arm `direct` (more failed lookups, more queries at the cluster DNS, a larger p50 or p99
/// of the time until a pod is served; the median of the runs); 69: this machine refuses the namespaces.
///
/// With --cluster it runs the same arms, and one more behind NodeLocal DNSCache, on the test cluster that KUBECONFIG names, with real pods and the cluster's own
/// CoreDNS, whose CPU it limits. Afterwards CoreDNS gets back what it had. Exit code 1: an injected arm was worse than the arm
/// `direct`.
#[derive(Debug, Parser)]
struct Arguments {
    /// The manifest of a Job; default: one that comes with the program, 100 pods with 3 names each.
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    /// How many pods; default: the Job's parallelism.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pods: Option<u16>,
    /// What the pods look up, in place of the Job's own; a name that the experiment's world does not have is added to it.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    names: Vec<String>,
    /// Names that the pods look up beside those of --names, and that must not be found.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', requires = "names")]
    missing: Vec<String>,
    /// Run on the cluster that KUBECONFIG names, 80 pods by default: `just cluster up` starts one.
    #[arg(long, conflicts_with_all = ["job", "service_rate", "queue", "loss", "seed", "unlimited", "restarts", "plot"])]
    cluster: bool,
    /// The CPU limits of CoreDNS, one after the other: `none` for no limit.
    #[arg(
        long, value_name = "LIMIT,..", value_delimiter = ',', default_value = "10m", requires = "cluster",
        value_parser = |text: &str| parse_limit(text).map(Limit)
    )]
    coredns_cpu: Vec<Limit>,
    /// A context of KUBECONFIG whose CoreDNS may be limited, though it is neither the test cluster's nor kind's.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    allow_context: Option<String>,
    /// Queries that the cluster DNS answers in a second.
    #[arg(long, value_name = "NUMBER", default_value = "60", value_parser = Capacity::parse_rate)]
    service_rate: f64,
    /// Datagrams that wait at the cluster DNS; more are dropped. Default: without limit, as the real one does.
    #[arg(long, value_name = "NUMBER")]
    queue: Option<usize>,
    /// The share of datagrams that is lost on the way, in each direction.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = Capacity::parse_loss)]
    loss: f64,
    /// Which datagrams are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// A cluster DNS that answers at once and loses nothing, in place of the four above; without --plot nothing is drawn.
    #[arg(long)]
    unlimited: bool,
    /// How often a gang is started again after one of its pods has failed.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    restarts: u32,
    /// Which ways to run it; default: all, `node-local` only with --cluster.
    #[arg(long, value_name = "ARM,..", value_enum, value_delimiter = ',')]
    arms: Vec<Arm>,
    /// How often to run each arm; the arms are run in turn.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Write the figures as JSON to a file, or with `-` to standard output in place of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    #[command(flatten)]
    plot: PlotFlag,
}

/// `None` for no limit; a type of its own, since clap takes `Option` for an argument that may be absent.
#[derive(Debug, Clone)]
struct Limit(Option<String>);

/// Before threads start: building and entering the node need a process with only one.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.cluster {
        return end(run_on_cluster(&arguments));
    }
    match prepare(&arguments) {
        Ok(Prepared { arms, job, world, programs }) => match node::enter() {
            Ok(node) => end(run(&arguments, &arms, job, world, programs, node)),
            Err(refused) => {
                eprintln!("gang: {refused}");
                ExitCode::from(node::EXIT_REFUSED)
            }
        },
        Err(failure) => end(Err(failure)),
    }
}

fn end(result: Result<bool, Failure>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("gang: {failure}");
            ExitCode::FAILURE
        }
    }
}

struct Prepared {
    arms: Vec<Arm>,
    job: Job,
    world: World,
    programs: Programs,
}

/// The process outside the node builds; the one inside, which runs this again, finds everything built.
fn prepare(arguments: &Arguments) -> Result<Prepared, Failure> {
    let job = match &arguments.job {
        Some(file) => fs::read_to_string(file).tried(|| format!("reading {}", file.display()))?,
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

/// Whether every lookup of the injected pods gave what it should, and injection made nothing worse.
#[tokio::main]
async fn run(
    arguments: &Arguments,
    arms: &[Arm],
    job: Job,
    world: World,
    programs: Programs,
    node: Node,
) -> Result<bool, Failure> {
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
        for arm in arms {
            results.push(run::run(*arm, &experiment).await?);
        }
    }
    print(arguments, &experiment, &results)?;
    let injected = results.iter().filter(|figures| figures.arm.is_injected());
    let mut is_success = true;
    for failed in injected.filter(|figures| !figures.is_success()) {
        is_success = false;
        let first = failed.first_failure.as_deref().unwrap_or("no pod has failed");
        let arm = failed.arm.name();
        eprintln!("gang: {arm}: a lookup failed in an injected pod. The first pod that failed:\n{first}");
    }
    let cost = |figures: &Figures| match experiment.capacity {
        Some(_) => figures.cost(),
        None => figures.cost().without_times(),
    };
    let costs: Vec<_> = results.iter().map(|figures| (figures.arm, cost(figures))).collect();
    Ok(report(&law::breaches(&costs)) && is_success)
}

/// Prints what is worse with injection than without. Whether nothing is.
fn report(breaches: &[String]) -> bool {
    for breach in breaches {
        eprintln!("gang: worse than without injection: {breach}");
    }
    breaches.is_empty()
}

/// Whether no injected arm is worse than the arm `direct` with the same limit.
#[tokio::main]
async fn run_on_cluster(arguments: &Arguments) -> Result<bool, Failure> {
    let or = |names: &[String], default: &[&str]| {
        if arguments.names.is_empty() {
            default.iter().map(|name| (*name).to_owned()).collect()
        } else {
            names.to_vec()
        }
    };
    let options = cluster::Options {
        arms: Arm::choose(&arguments.arms, true)?,
        pods: arguments.pods.unwrap_or(cluster::PODS).into(),
        names: or(&arguments.names, &cluster::NAMES),
        missing: or(&arguments.missing, &cluster::MISSING),
        limits: arguments.coredns_cpu.iter().map(|limit| limit.0.clone()).collect(),
        runs: arguments.runs,
        allowed: arguments.allow_context.clone(),
    };
    let mut arms = Vec::new();
    let result = cluster::run(&options, &mut arms).await;
    // What was measured before a failure is printed, too.
    if !arms.is_empty() {
        let json = json!({ "names": options.names, "missing": options.missing, "arms": arms });
        write(arguments.json.as_deref(), &json, || cluster::table::table(&arms))?;
    }
    result?;
    Ok(report(&cluster::breaches(&arms)))
}

/// The figures first: whatever becomes of the files, they were not run for nothing.
fn print(arguments: &Arguments, experiment: &Experiment, arms: &[Figures]) -> Result<(), Failure> {
    let figures = json!({
        "job": experiment.job.name(),
        "capacity": experiment.capacity,
        "restarts": experiment.restarts,
        "arms": arms,
    });
    write(arguments.json.as_deref(), &figures, || table(arms))?;
    if experiment.capacity.is_none() && !arguments.plot.is_given() {
        return Ok(());
    }
    arguments.plot.write(&charts::page(title(experiment), arms), "gang")
}

/// The table to standard output, or the figures where `json` is `-`; the figures to the file that it names otherwise.
fn write(json: Option<&Path>, figures: &Value, table: impl Fn() -> String) -> Result<(), Failure> {
    let figures = format!("{figures:#}\n");
    let is_json = json == Some(Path::new("-"));
    let text = if is_json { figures.clone() } else { table() };
    std::io::stdout().write_all(text.as_bytes()).tried(|| "writing the figures".to_owned())?;
    if let Some(file) = json.filter(|_| !is_json) {
        fs::write(file, figures).tried(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn title(experiment: &Experiment) -> String {
    let pods = experiment.pods;
    match experiment.capacity {
        None => format!("{pods} pods start at one instant"),
        Some(Capacity { per_second, loss, .. }) => format!(
            "{pods} pods start at one instant; cluster DNS: {per_second} queries/s, {} % loss",
            loss * 100.0
        ),
    }
}
