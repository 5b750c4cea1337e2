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
//!   chart       the report as bar charts
//! ```
//!
//! Subjects take turns, so that other work of the machine affects all of them alike. Each subject has one
//! core; the load generator and the upstream share another. All traffic uses the loopback.

pub mod chart;
pub mod echo;
mod measure;
pub mod peers;
pub mod report;
pub mod rows;
pub mod subject;
mod upstream;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use measure::Stage;
use podlocal_harness::failure::Failure;
use podlocal_harness::process::{Machine, Pinned, cores};
use report::{Measured, Report};
use rows::{ROWS, Row};
use subject::Subject;
use upstream::Upstream;

/// The selection of measurements and their duration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names of rows; empty for all.
    pub only: Vec<String>,
    /// The number of turns of each subject.
    pub rounds: usize,
    /// The duration of one turn, for rows whose duration can be chosen.
    pub turn: Duration,
    /// Whether a million names are looked up as well.
    pub million: bool,
}

/// Runs the measurements. A failed measurement becomes a note in the report.
pub fn run(plan: &Plan, subjects: &[Subject]) -> Result<Report, Failure> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_chosen(&plan.only)).collect();
    let (cores, mut report) = (cores()?, Report::new(subjects));
    let (Some(server), Some(asker)) = (cores.first().copied(), cores.last().copied()) else {
        return Err(Failure::new("this process may not use any core"));
    };
    report.place(server, asker);
    let machine = Machine::now()?;
    // Threads that start from here on, including those of the upstream, stay on that core.
    let pinned = Pinned::to(asker)?;
    let stage = Stage { upstream: Upstream::start()?, core: server, turn: plan.turn, million: plan.million };
    let progress = Progress::new(&rows, plan.rounds, subjects);
    for row in rows {
        let mut measured = Vec::new();
        let concerned: Vec<&Subject> = subjects.iter().filter(|subject| row.concerns(subject)).collect();
        for round in 0..row.rounds(plan.rounds) {
            for subject in &concerned {
                progress.report(row, round, subject);
                match (row.measure)(&stage, subject) {
                    Ok(values) => measured.push(Measured { round, subject: subject.name, values }),
                    Err(failure) => report.note(format!("{}, {}: {failure}", row.name, subject.name)),
                }
                progress.bar.inc(1);
            }
        }
        report.add(row, &measured);
    }
    progress.bar.finish_and_clear();
    drop(pinned);
    // The subjects have ended, so their CPU time counts as that of this process.
    let others = machine.share_of_others(0.0)?;
    report.note(format!("other programs used {:.0} % of the machine during the run", others * 100.0));
    Ok(report)
}

/// A progress bar on a terminal, otherwise one line for each row.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(rows: &[&Row], rounds: usize, subjects: &[Subject]) -> Self {
        let turns =
            |row: &&Row| row.rounds(rounds) * subjects.iter().filter(|subject| row.concerns(subject)).count();
        let bar = ProgressBar::new(rows.iter().map(turns).sum::<usize>() as u64);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    fn report(&self, row: &Row, round: usize, subject: &Subject) {
        let message = format!("{}, round {}: {}", row.name, round + 1, subject.name);
        if self.bar.is_hidden() {
            eprintln!("bench: {message}");
        }
        self.bar.set_message(message);
    }
}
