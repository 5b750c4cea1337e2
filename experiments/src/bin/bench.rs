//! Measures the speed and the size of the sidecar; see `podlocal_experiments::bench`.

use std::env;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use podlocal_experiments::bench::rows::ROWS;
use podlocal_experiments::bench::subject::Subject;
use podlocal_experiments::bench::{Plan, echo, peers, report, run};
use podlocal_experiments::program::exit_code;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;

/// Runs the real sidecar, a bare UDP echo and the installed forwarders of Debian in turn, each on one core.
/// Prints their speed, their CPU time and their size, together with the goals for the sidecar.
///
/// Build it with --release: measurements of an unoptimised program mean nothing. The environment variable
/// SIDECAR_UNDER_TEST names another sidecar to measure.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Arguments {
    /// Measure only these rows; may be repeated.
    #[arg(long, value_name = "ROW", value_parser = PossibleValuesParser::new(ROWS.map(|row| row.name)))]
    only: Vec<String>,
    /// Measure only these programs; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Subject::names()))]
    subject: Vec<String>,
    /// Number of turns of each program; the table shows medians.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    rounds: usize,
    /// Duration of a turn, in seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 2.0)]
    seconds: f64,
    /// Do not look up a million names, which takes a minute or two for each program.
    #[arg(long)]
    no_million: bool,
    /// Build the sidecar as for its image, and measure that build.
    #[arg(long)]
    image: bool,
    /// Print JSON with every round instead of the table.
    #[arg(long)]
    json: bool,
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
    if !(arguments.seconds > 0.0 && arguments.seconds <= 30.0) || arguments.rounds == 0 {
        return Err(Failure::new("expected at least 1 round, and a duration above 0 and at most 30 seconds"));
    }
    let ours = env::current_exe().with_context("finding this program")?;
    let sidecar = if arguments.image { Programs::build_image_sidecar() } else { Programs::build_sidecar() }?;
    let (subjects, missing) = Subject::choose(&arguments.subject, &sidecar, &ours);
    let plan = Plan {
        only: arguments.only.clone(),
        rounds: arguments.rounds,
        turn: Duration::from_secs_f64(arguments.seconds),
        million: !arguments.no_million,
    };
    let mut report = run(&plan, &subjects)?;
    report_missing(&missing, &mut report);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).with_context("writing JSON")? + "\n"
    } else {
        report.table()
    };
    std::io::stdout().write_all(text.as_bytes()).with_context("writing the table")?;
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
