//! Measures the speed and the size of the sidecar; see `podlocal_experiments::bench`.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use podlocal_experiments::bench::subject::Subject;
use podlocal_experiments::bench::{Plan, echo, peers, report, run};
use podlocal_experiments::plot::PlotFlag;
use podlocal_experiments::program::{JsonFlag, exit_code};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;

/// Runs the real sidecar, a bare UDP echo and the installed forwarders of Debian in turn, each on one core.
/// Prints their speed, their CPU time and their size, together with the goals for the sidecar.
///
/// Build it with --release: measurements of an unoptimised program mean nothing. The environment variable
/// SIDECAR_UNDER_TEST names another sidecar to measure.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    plan: Plan,
    /// Measure only these programs; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Subject::names()))]
    subject: Vec<String>,
    /// Build the sidecar as for its image, and measure that build.
    #[arg(long)]
    image: bool,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    plot: PlotFlag,
    /// Exit with 1 when a goal is missed.
    #[arg(long)]
    check: bool,
    /// Be the echo, at this address: the role in which this program starts itself again.
    #[arg(long, hide = true)]
    echo: Option<SocketAddr>,
}

fn main() -> ExitCode {
    exit_code("bench", measure(&Arguments::parse()))
}

fn measure(arguments: &Arguments) -> Result<bool, Failure> {
    if let Some(address) = arguments.echo {
        echo::serve(address)?;
    }
    let ours = env::current_exe().with_context("finding this program")?;
    let sidecar = if arguments.image { Programs::build_image_sidecar() } else { Programs::build_sidecar() }?;
    let (subjects, missing) = Subject::choose(&arguments.subject, &sidecar, &ours);
    let mut report = run(&arguments.plan, &subjects)?;
    report_missing(&missing, &mut report);
    arguments.json.write(&report, &report.table())?;
    arguments.plot.write_svg(&report::charts(&report)?, "bench")?;
    Ok(!arguments.check || report.missed().is_empty())
}

fn report_missing(missing: &[peers::Peer], report: &mut report::Report) {
    let mut packages: Vec<_> = missing.iter().map(|peer| peer.package).collect();
    packages.extend((!peers::has_dnsperf()).then_some("dnsperf"));
    if !packages.is_empty() {
        let packages = packages.join(" ");
        report.note(format!("not installed: apt-get install --no-install-recommends {packages}"));
    }
}
