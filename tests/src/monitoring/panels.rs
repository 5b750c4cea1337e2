//! The dashboard as a table: what an operator asks in an outage, row by row, and the expressions that answer
//! it.

mod dns;
mod forward;
mod proxy;
mod webhook;

/// The rows, from the first question to the last.
pub const ROWS: [Row; 7] = [
    dns::QUERIES,
    dns::CLUSTER_DNS,
    forward::FORWARD_ZONES,
    proxy::SAVED,
    proxy::LIMITS,
    proxy::TIER,
    webhook::REVIEWS,
];

/// The proxies that the variables of the dashboard choose; stands for `S` below.
pub const CHOSEN: &str = "namespace=~\"$namespace\",workload=~\"$workload\"";

/// A row: a question with the panels that answer it.
#[derive(Debug)]
pub struct Row {
    /// What is asked.
    pub title: &'static str,
    /// From left to right, and on.
    pub panels: &'static [Panel],
}

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// What is shown.
    pub title: &'static str,
    /// How it is read.
    pub description: &'static str,
    /// How.
    pub kind: Kind,
    /// In what.
    pub unit: Unit,
    /// The lines.
    pub lines: &'static [Line],
}

/// One expression, of which every series is a line. In it `S` stands for [`CHOSEN`], and `R` for a range that
/// fits.
#[derive(Debug)]
pub struct Line {
    /// PromQL.
    pub expression: &'static str,
    /// What a line is called; `{{label}}` is a label's value.
    pub legend: &'static str,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The last value, as a number. From the threshold on it is red.
    Stat(Option<f64>),
    /// Lines over time.
    Lines,
    /// Areas over time, one above the other.
    Stacked,
}

/// What lines stand for that are called so, or end so, and the colour that says it: Grafana's name for it.
pub const TONES: [(&[&str], &str); 3] = [
    (&["failed", "failure", "servfail", "refused", "silent"], "red"),
    (&["stale", "overload", "skipped", "truncated"], "orange"),
    (&["hit", "noerror", "answer", "injected"], "green"),
];

/// The unit of a panel, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the units")]
pub enum Unit {
    Count,
    PerSecond,
    Share,
    Seconds,
    Bytes,
}

const fn line(expression: &'static str, legend: &'static str) -> Line {
    Line { expression, legend }
}
