//! Measures the speed and the size of the sidecar, together with a bare echo server and other forwarders of
//! Debian, in one run. `cargo run --release --bin bench` prints a table.
//!
//! ```text
//!   rows        the measured quantities, with their goals
//!     measure     each row of one subject
//!   subject     a measured program: a process on a separate core
//!     peers       other forwarders, and their configurations
//!     echo        the upper limit: a server that only receives and sends
//!   upstream    answers every query of the subjects immediately
//!   report      medians, ratios, goals that are met; the table
//! ```
//!
//! Subjects take turns, so that other work of the machine affects all of them alike. Each subject has one
//! core; the load generator and the upstream share another. All traffic uses the loopback.

pub mod echo;
mod measure;
pub mod peers;
pub mod report;
pub mod rows;
pub mod subject;
mod upstream;

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use measure::Stage;
use podlocal_harness::failure::Failure;
use podlocal_harness::process::{Machine, Pinned, cores};
use report::{Measured, Report};
use rows::{ROWS, Row};
use subject::Subject;
use upstream::Upstream;

/// The selection of measurements and their duration.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// Measure only these rows; may be repeated.
    #[arg(long, value_name = "ROW", value_parser = PossibleValuesParser::new(ROWS.map(|row| row.name)))]
    only: Vec<String>,
    /// Number of turns of each program; the table shows medians.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Duration of a turn, in seconds.
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = parse_turn)]
    seconds: Duration,
    /// Do not look up a million names, which takes a minute or two for each program.
    #[arg(long)]
    no_million: bool,
}

fn parse_turn(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 30.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number above 0 and at most 30".to_owned()),
    }
}

/// Runs the measurements. A failed measurement becomes a note in the report.
pub fn run(plan: &Plan, subjects: &[Subject]) -> Result<Report, Failure> {
    let (cores, mut report) = (cores()?, Report::new(subjects));
    let (Some(server), Some(asker)) = (cores.first().copied(), cores.last().copied()) else {
        return Err(Failure::new("this process may not use any core"));
    };
    report.place(server, asker);
    let machine = Machine::now()?;
    // Threads that start from here on, including those of the upstream, stay on that core.
    let pinned = Pinned::to(asker)?;
    let stage =
        Stage { upstream: Upstream::start()?, core: server, turn: plan.seconds, million: !plan.no_million };
    let is_chosen = |row: &&Row| plan.only.is_empty() || plan.only.iter().any(|name| name == row.name);
    for row in ROWS.iter().filter(is_chosen) {
        let mut measured = Vec::new();
        for round in 0..(if row.is_constant { 1 } else { plan.rounds }) {
            for subject in subjects.iter().filter(|subject| row.has_echo || !subject.is_echo()) {
                eprintln!("bench: {}, round {}: {}", row.name, round + 1, subject.name);
                match (row.measure)(&stage, subject) {
                    Ok(values) => measured.push(Measured { round, subject: subject.name, values }),
                    Err(failure) => report.note(format!("{}, {}: {failure}", row.name, subject.name)),
                }
            }
        }
        report.add(row, &measured);
    }
    drop(pinned);
    // The subjects have ended, so their CPU time counts as that of this process.
    let others = machine.share_of_others(0.0)?;
    report.note(format!("other programs used {:.0} % of the machine during the run", others * 100.0));
    Ok(report)
}
