//! How fast and how small the sidecar is, measured in one run beside a bare echo and other forwarders of Debian.
//! `cargo run --release --bin bench` prints a table.
//!
//! ```text
//!   rows        what is measured, with its goals
//!     measure     each row of one subject
//!   subject     who is measured: a process on a core of its own
//!     peers       other forwarders, and their configurations
//!     echo        the limit: what the kernel lets a server do that does nothing
//!   upstream    answers at once whatever subjects ask
//!   report      medians, ratios, what holds; the table
//!   chart       the same as bars
//! ```
//!
//! Subjects take turns, so that what else the machine does meets all of them. Each has one core, who asks has the other,
//! and the upstream shares that one. Everything travels over the loopback.

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

use crate::failure::Failure;
use crate::process::{Machine, Pinned, cores};
use measure::Stage;
use report::{Measured, Report};
use rows::{ROWS, Row};
use subject::Subject;
use upstream::Upstream;

/// What to measure, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names of rows; none: all.
    pub only: Vec<String>,
    /// How often each subject has its turn.
    pub rounds: usize,
    /// How long one turn takes, for what takes as long as one likes.
    pub turn: Duration,
    /// Whether a million names are asked for, too.
    pub million: bool,
}

/// Measures. What could not be measured is a note of the report.
pub fn run(plan: &Plan, subjects: &[Subject]) -> Result<Report, Failure> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_chosen(&plan.only)).collect();
    let (cores, mut report) = (cores()?, Report::new(subjects));
    let (Some(server), Some(asker)) = (cores.first().copied(), cores.last().copied()) else {
        return Err(Failure::new("no core may be used"));
    };
    report.place(server, asker);
    let machine = Machine::now()?;
    // Threads that are started from here on, the upstream's among them, stay on that core.
    let pinned = Pinned::to(asker)?;
    let stage = Stage { upstream: Upstream::start()?, core: server, turn: plan.turn, million: plan.million };
    let progress = Progress::new(&rows, plan.rounds, subjects);
    for row in rows {
        let mut measured = Vec::new();
        let concerned: Vec<&Subject> = subjects.iter().filter(|subject| row.concerns(subject)).collect();
        for round in 0..row.rounds(plan.rounds) {
            for subject in &concerned {
                progress.tell(row, round, subject);
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
    // Subjects have ended, and count as this process's own.
    let others = machine.share_of_others(0.0)?;
    report.note(format!("other programs took {:.0} % of the machine meanwhile", others * 100.0));
    Ok(report)
}

/// A bar on a terminal, else a line for each row.
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

    fn tell(&self, row: &Row, round: usize, subject: &Subject) {
        let message = format!("{}, round {}: {}", row.name, round + 1, subject.name);
        if self.bar.is_hidden() {
            eprintln!("bench: {message}");
        }
        self.bar.set_message(message);
    }
}
