//! The gang experiment on one machine, without a cluster; see `podlocal_tests::gang`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::gang::arm::{self, Arm, Figures};
use podlocal_tests::gang::job::{DEFAULT_MANIFEST, Job};
use podlocal_tests::gang::table::table;
use podlocal_tests::node::{self, Node};
use podlocal_tests::programs::Programs;
use serde_json::json;

/// Runs the pods of a Job on this machine: as they are, and through the real webhook with the real sidecar.
/// All look their names up at the same instant, with the real libc. Prints what the cluster DNS was asked,
/// and what the applications saw.
///
/// Needs no cluster, no root and no Internet, but namespaces of the kernel. Exit code 1: a look-up failed in
/// an injected pod; 69: this machine refuses the namespaces.
#[derive(Debug, Parser)]
struct Arguments {
    /// The manifest of a Job; default: one that comes with the program, 100 pods with 3 names each.
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    /// How many pods; default: the Job's parallelism.
    #[arg(long, value_name = "NUMBER")]
    pods: Option<usize>,
    /// Write the figures as JSON to a file, or with `-` to standard output in place of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// Before threads start: building and entering the node need a process with only one.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match prepare(&arguments) {
        Ok(Prepared { job, programs }) => match node::enter() {
            Ok(node) => end(run(&arguments, &job, &programs, &node)),
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
    job: Job,
    programs: Programs,
}

/// The process outside the node builds; the one inside, which runs this again, finds everything built.
fn prepare(arguments: &Arguments) -> Result<Prepared, Failure> {
    let job = match &arguments.job {
        Some(file) => fs::read_to_string(file).tried(|| format!("reading {}", file.display()))?,
        None => DEFAULT_MANIFEST.to_owned(),
    };
    let job = Job::read(&job)?;
    let programs = if node::is_inside() { Programs::built() } else { Programs::build() };
    Ok(Prepared { job, programs: programs? })
}

/// Whether every look-up of the injected pods gave what it should.
#[tokio::main]
async fn run(arguments: &Arguments, job: &Job, programs: &Programs, node: &Node) -> Result<bool, Failure> {
    let pods = arguments.pods.unwrap_or_else(|| job.parallelism());
    let mut arms = Vec::new();
    for arm in Arm::ALL {
        arms.push(arm::run(arm, node, programs, job, pods).await?);
    }
    print(arguments.json.as_deref(), job, &arms)?;
    let injected = arms.iter().filter(|figures| figures.arm == Arm::Injected);
    let mut is_success = true;
    for failed in injected.filter(|figures| !figures.is_success()) {
        is_success = false;
        let first = failed.first_failure.as_deref().unwrap_or("no pod has failed");
        eprintln!("gang: a look-up failed in an injected pod. The first pod that failed:\n{first}");
    }
    Ok(is_success)
}

fn print(json: Option<&Path>, job: &Job, arms: &[Figures]) -> Result<(), Failure> {
    let figures = json!({ "job": job.name(), "arms": arms });
    let figures = format!("{figures:#}\n");
    if json == Some(Path::new("-")) {
        return std::io::stdout().write_all(figures.as_bytes()).tried(|| "writing the figures".to_owned());
    }
    if let Some(file) = json {
        fs::write(file, figures).tried(|| format!("writing {}", file.display()))?;
    }
    let text = table(arms);
    std::io::stdout().write_all(text.as_bytes()).tried(|| "writing the table".to_owned())
}
