//! What the sidecar does when things go wrong, measured: the real program on a loopback, in front of an upstream that
//! loses, delays, dies and returns. `cargo run --release --bin faults` prints a row for each promise.
//!
//! ```text
//!   rows        the promises: each sets the stage, measures, and compares with its goal
//!   upstream    a DNS server that misbehaves as told, and counts
//!   proxy       the sidecar as a process: its addresses, metrics and memory
//!   client      one question and how long it took
//!   hostile     packets and connections that mean harm
//! ```

pub mod client;
pub mod hostile;
pub mod proxy;
pub mod rows;
pub mod upstream;

use serde::Serialize;

/// One promise: what was measured, and whether it holds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The name, as `--only` takes it.
    pub name: &'static str,
    /// What was done.
    pub what: String,
    /// What came of it.
    pub result: String,
    /// What is promised.
    pub goal: &'static str,
    /// Whether it holds; none: a figure without a goal.
    pub holds: Option<bool>,
}

/// The rows as a table for people.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { name, what, result, goal, holds } in rows {
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        text += &format!("{name:<11} {what}\n{:<12}{result}\n", "");
        if !goal.is_empty() {
            text += &format!("{:<12}goal: {goal}: {verdict}\n", "");
        }
    }
    text
}
