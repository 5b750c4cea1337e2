//! What is measured, with its goals.

use super::measure::{self, Stage, Values};
use super::subject::Subject;
use crate::failure::Failure;
use crate::promises::no_such_row;

/// What is measured of one running subject: a line of the table, or several.
#[derive(Debug)]
pub struct Row {
    /// The name, as `--only` takes it.
    pub name: &'static str,
    /// What comes of it.
    pub lines: &'static [Line],
    /// Whether an echo has it, too.
    has_echo: bool,
    /// Whether it is the same in every round.
    is_constant: bool,
    /// Measures it of one subject: a value for each line that is [`Kind::Measured`], in their order.
    pub(super) measure: fn(&Stage, &Subject) -> Values,
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// Quantity and unit.
    pub what: &'static str,
    /// How many decimals are printed.
    pub decimals: usize,
    /// Where its figures come from.
    pub kind: Kind,
    /// What is promised of the sidecar's.
    pub goal: Option<Goal>,
    /// Its bar chart's title, if it has one.
    pub chart: Option<&'static str>,
}

/// Where figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They are measured.
    Measured,
    /// Those of the line before it, divided by the echo's of the same round.
    OfEcho,
}

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
    /// More than any other forwarder.
    AbovePeers,
}

/// All rows, in the order in which they are measured.
pub const ROWS: [Row; 8] = [
    Row {
        name: "udp",
        lines: &[
            measured("hot UDP, answers a second", 0).charted("Hot answers a second by UDP"),
            of_echo("  of the echo's", Goal::AtLeast(0.95)),
            measured("  CPU for one, us", 2).charted("CPU for a hot answer by UDP, in microseconds"),
            of_echo("  of the echo's", Goal::AtMost(1.15)),
            measured("  its core busy, %", 0),
            measured("  the asker busy, %", 0),
        ],
        has_echo: true,
        is_constant: false,
        measure: measure::udp,
    },
    Row {
        name: "dnsperf",
        lines: &[
            measured("hot UDP by dnsperf", 0),
            Line { goal: None, ..of_echo("  of the echo's", Goal::AbovePeers) },
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
            measured("  p99, us", 0).charted("The slowest of 100 answers at 2,000 a second, in microseconds"),
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
                .charted("Hot answers a second by TCP"),
            measured("  CPU for one, us", 2),
            measured("  the asker busy, %", 0),
        ],
        has_echo: false,
        is_constant: false,
        measure: measure::tcp,
    },
    Row {
        name: "cold",
        lines: &[
            measured("misses a second", 0).charted("Misses a second, the upstream at once"),
            measured("  CPU for one, us", 2),
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
    /// Refuses names that no row has.
    ///
    /// # Errors
    ///
    /// Such a name, and those that there are.
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
