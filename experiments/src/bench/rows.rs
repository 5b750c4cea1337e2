//! The measured quantities, with their goals.

use super::measure::{self, Stage, Values};
use super::subject::Subject;

/// A measurement of one running subject: one or more lines of the table.
#[derive(Debug)]
pub struct Row {
    /// The name, as in `--only`.
    pub name: &'static str,
    /// The lines of the table.
    pub lines: &'static [Line],
    /// Whether the echo is measured as well.
    pub(super) has_echo: bool,
    /// Whether the value is the same in every round.
    pub(super) is_constant: bool,
    /// Measures one subject. Returns a value for each line that is not [`Line::is_ratio`], in order.
    pub(super) measure: fn(&Stage, &Subject) -> Values,
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// Quantity and unit.
    pub what: &'static str,
    /// The number of printed decimals.
    pub decimals: usize,
    /// Whether its values are those of the line before it, divided by that of the echo in the same round.
    pub is_ratio: bool,
    /// The goal for the sidecar.
    pub goal: Option<Goal>,
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
    Row::new(
        "udp",
        measure::udp,
        &[
            measured("hot UDP, answers a second", 0),
            of_echo("  ratio to the echo", Goal::AtLeast(0.95)),
            measured("  CPU for one, us", 2),
            of_echo("  ratio to the echo", Goal::AtMost(1.15)),
            measured("  its core busy, %", 0),
            measured("  load generator busy, %", 0),
        ],
    )
    .with_echo(),
    Row::new(
        "dnsperf",
        measure::dnsperf,
        &[
            measured("hot UDP by dnsperf", 0),
            Line { goal: None, ..of_echo("  ratio to the echo", Goal::AbovePeers) },
            measured("  its core busy, %", 0),
        ],
    )
    .with_echo(),
    Row::new(
        "latency",
        measure::latency,
        &[
            measured("at 2,000 a second: p50, us", 0),
            measured("  p99, us", 0),
            measured("  p99.9, us", 0),
            measured("  CPU for one, us", 2),
            measured("  without an answer", 0),
        ],
    )
    .with_echo(),
    Row::new(
        "tcp",
        measure::tcp,
        &[
            measured("hot TCP, answers a second", 0).promised(Goal::AbovePeers),
            measured("  CPU for one, us", 2),
            measured("  load generator busy, %", 0),
        ],
    ),
    Row::new(
        "cold",
        measure::cold,
        &[
            measured("misses a second", 0).promised(Goal::AbovePeers),
            measured("  CPU for one, us", 2).promised(Goal::BelowPeers),
            measured("  without an answer", 0),
        ],
    ),
    Row::new(
        "memory",
        measure::memory,
        &[
            measured("memory idle, MiB", 1).promised(Goal::AtMost(3.0)),
            measured("  with 10,000 names", 1).promised(Goal::AtMost(6.0)),
            measured("  after a million", 1),
        ],
    )
    .once(),
    Row::new("in-flight", measure::in_flight, &[measured("one of 1,000 misses, KiB", 1)]),
    Row::new(
        "start",
        measure::start,
        &[measured("start to first answer, ms", 1).promised(Goal::AtMost(5.0))],
    ),
    Row::new(
        "size",
        measure::size,
        &[
            measured("static program, MiB", 2).promised(Goal::AtMost(4.0)),
            measured("  with its libraries", 2),
        ],
    )
    .once(),
];

impl Row {
    const fn new(
        name: &'static str,
        measure: fn(&Stage, &Subject) -> Values,
        lines: &'static [Line],
    ) -> Self {
        Self { name, lines, has_echo: false, is_constant: false, measure }
    }

    const fn with_echo(self) -> Self {
        Self { has_echo: true, ..self }
    }

    const fn once(self) -> Self {
        Self { is_constant: true, ..self }
    }
}

const fn measured(what: &'static str, decimals: usize) -> Line {
    Line { what, decimals, is_ratio: false, goal: None }
}

const fn of_echo(what: &'static str, goal: Goal) -> Line {
    Line { what, decimals: 2, is_ratio: true, goal: Some(goal) }
}

impl Line {
    const fn promised(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }
}
