//! The dashboard as a table: the questions of an operator during an outage, row by row, and the expressions
//! that answer them.

mod dns;
mod forward;
mod proxy;
mod webhook;

/// The rows, in the order of the questions.
pub const ROWS: [Row; 7] = [
    dns::QUERIES,
    dns::CLUSTER_DNS,
    forward::FORWARD_ZONES,
    proxy::SAVED,
    proxy::LIMITS,
    proxy::TIER,
    webhook::REVIEWS,
];

/// The matchers for the proxies that the variables of the dashboard select; they replace `S` below.
pub const CHOSEN: &str = "namespace=~\"$namespace\",workload=~\"$workload\"";

/// A row: a question and the panels that answer it.
#[derive(Debug)]
pub struct Row {
    /// The question.
    pub title: &'static str,
    /// The panels, from left to right and top to bottom.
    pub panels: &'static [Panel],
}

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// The title.
    pub title: &'static str,
    /// How to read the panel.
    pub description: &'static str,
    /// The kind of drawing.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// The expressions.
    pub lines: &'static [Line],
}

/// One expression, each of whose series is a line. `S` is replaced by [`CHOSEN`], and `R` by a suitable
/// range.
#[derive(Debug)]
pub struct Line {
    /// PromQL.
    pub expression: &'static str,
    /// The legend of a line; `{{label}}` is a label's value.
    pub legend: &'static str,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The last value, as a number. It is red at or above the threshold.
    Stat(Option<f64>),
    /// Lines over time.
    Lines,
    /// Stacked areas over time.
    Stacked,
}

/// Legends, or ends of legends, and their colour in Grafana.
pub const LINE_COLOURS: [(&[&str], &str); 3] = [
    (&["failed", "failure", "servfail", "refused", "timeout"], "red"),
    (&["stale", "over_limit", "skipped", "truncated"], "orange"),
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
