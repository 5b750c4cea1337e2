//! The measured quantities, with their goals.

use super::measure::{self, Stage, Values};
use super::subject::Subject;
use crate::promises::no_such_row;
use podlocal_harness::failure::Failure;

/// A measurement of one running subject: one or more lines of the table.
#[derive(Debug)]
pub struct Row {
    /// The name, as in `--only`.
    pub name: &'static str,
    /// The lines of the table.
    pub lines: &'static [Line],
    /// Whether the echo is measured as well.
    has_echo: bool,
    /// Whether the value is the same in every round.
    is_constant: bool,
    /// Measures one subject. Returns a value for each [`Kind::Measured`] line, in order.
    pub(super) measure: fn(&Stage, &Subject) -> Values,
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// Quantity and unit.
    pub what: &'static str,
    /// The number of printed decimals.
    pub decimals: usize,
    /// The origin of its values.
    pub kind: Kind,
    /// The goal for the sidecar.
    pub goal: Option<Goal>,
    /// The title of its bar chart, if it has one.
    pub chart: Option<&'static str>,
}

/// The origin of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Measured values.
    Measured,
    /// The values of the line before it, divided by that of the echo in the same round.
    OfEcho,
}

/// A goal for the sidecar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At least this value.
    AtLeast(f64),
    /// At most this value.
    AtMost(f64),
    /// More than every other forwarder.
    AbovePeers,
    /// Less than every other forwarder.
    BelowPeers,
}

/// All rows, in the order in which they are measured.
pub const ROWS: [Row; 9] = [
    Row {
        name: "udp",
        lines: &[
            measured("hot UDP, answers a second", 0).charted("Hot answers a second over UDP"),
            of_echo("  ratio to the echo", Goal::AtLeast(0.95)),
            measured("  CPU for one, us", 2).charted("CPU for a hot answer over UDP, in microseconds"),
            of_echo("  ratio to the echo", Goal::AtMost(1.15)),
            measured("  its core busy, %", 0),
            measured("  load generator busy, %", 0),
        ],
        has_echo: true,
        is_constant: false,
        measure: measure::udp,
    },
    Row {
        name: "dnsperf",
        lines: &[
            measured("hot UDP by dnsperf", 0),
            Line { goal: None, ..of_echo("  ratio to the echo", Goal::AbovePeers) },
            measured("  its core busy, %", 0),
        ],
        has_echo: true,
        is_constant: false,
        measure: measure::dnsperf,
    },
    Row {
        name: "latency",
        lines: &[
            measured("at 2,000 a second: p50, us", 0),
            measured("  p99, us", 0).charted("p99 of answers at 2,000 a second, in microseconds"),
            measured("  p99.9, us", 0),
            measured("  CPU for one, us", 2),
            measured("  without an answer", 0),
        ],
        has_echo: true,
        is_constant: false,
        measure: measure::latency,
    },
    Row {
        name: "tcp",
        lines: &[
            measured("hot TCP, answers a second", 0)
                .promised(Goal::AbovePeers)
                .charted("Hot answers a second over TCP"),
            measured("  CPU for one, us", 2),
            measured("  load generator busy, %", 0),
        ],
        has_echo: false,
        is_constant: false,
        measure: measure::tcp,
    },
    Row {
        name: "cold",
        lines: &[
            measured("misses a second", 0)
                .promised(Goal::AbovePeers)
                .charted("Misses a second, with an immediate upstream"),
            measured("  CPU for one, us", 2).promised(Goal::BelowPeers),
            measured("  without an answer", 0),
        ],
        has_echo: false,
        is_constant: false,
        measure: measure::cold,
    },
    Row {
        name: "memory",
        lines: &[
            measured("memory idle, MiB", 1).promised(Goal::AtMost(3.0)),
            measured("  with 10,000 names", 1)
                .promised(Goal::AtMost(6.0))
                .charted("Memory with 10,000 names, in MiB"),
            measured("  after a million", 1),
        ],
        has_echo: false,
        is_constant: true,
        measure: measure::memory,
    },
    Row {
        name: "in-flight",
        lines: &[measured("one of 1,000 misses, KiB", 1)],
        has_echo: false,
        is_constant: false,
        measure: measure::in_flight,
    },
    Row {
        name: "start",
        lines: &[measured("start to first answer, ms", 1)
            .promised(Goal::AtMost(5.0))
            .charted("From the start to the first answer, in milliseconds")],
        has_echo: false,
        is_constant: false,
        measure: measure::start,
    },
    Row {
        name: "size",
        lines: &[
            measured("static program, MiB", 2).promised(Goal::AtMost(4.0)),
            measured("  with its libraries", 2).charted("Program and its libraries, in MiB"),
        ],
        has_echo: false,
        is_constant: true,
        measure: measure::size,
    },
];

impl Row {
    /// Refuses unknown names of rows.
    ///
    /// # Errors
    ///
    /// The unknown name, and the list of known ones.
    pub fn check(names: &[String]) -> Result<(), Failure> {
        let all = ROWS.map(|row| row.name);
        match names.iter().find(|name| !all.contains(&name.as_str())) {
            Some(unknown) => Err(no_such_row(unknown, &all)),
            None => Ok(()),
        }
    }

    pub(super) fn is_chosen(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|name| name == self.name)
    }

    pub(super) fn concerns(&self, subject: &Subject) -> bool {
        self.has_echo || !subject.is_echo()
    }

    pub(super) fn rounds(&self, rounds: usize) -> usize {
        if self.is_constant { 1 } else { rounds }
    }
}

const fn measured(what: &'static str, decimals: usize) -> Line {
    Line { what, decimals, kind: Kind::Measured, goal: None, chart: None }
}

const fn of_echo(what: &'static str, goal: Goal) -> Line {
    Line { what, decimals: 2, kind: Kind::OfEcho, goal: Some(goal), chart: None }
}

impl Line {
    const fn promised(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    const fn charted(self, title: &'static str) -> Self {
        Self { chart: Some(title), ..self }
    }
}
