//! Promises that are measured: the real programs on the loopback, during faults and under load. Each row has a
//! goal, with which its result is compared.
//!
//! ```text
//!   rows       all rows, each with its setup and its goal
//!     sidecar    a sidecar in front of an upstream that drops queries, delays answers, stops and returns
//!     tier       a shared tier between sidecars and cluster DNS
//!     soak       mixed load and faults for a chosen time
//!     reviews    latency, CPU time and memory of the webhook
//! ```
//!
//! All traffic uses 127.0.0.0/8, where each source can have a separate address.

pub mod reviews;
mod rows;
mod sidecar;
pub mod soak;
mod tier;

use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use crate::program::JsonFlag;
use podlocal_harness::failure::Failure;
use podlocal_harness::programs::Programs;
use rows::ROWS;

/// Runs the real sidecar, alone and as a shared tier, in front of a faulty upstream, and sends reviews to the
/// real webhook. Prints the results together with the goals. Exits with 1 when a goal is missed.
///
/// Build it with --release. That profile optimizes the sidecar, and not what the webhook is made of: for the rows
/// `reviews`, build the images (`.ci/run images`), and set WEBHOOK_UNDER_TEST to the webhook's program. The
/// environment variable SIDECAR_UNDER_TEST names another sidecar to measure.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Measure only the rows whose names begin like this; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = prefix_of_rows)]
    only: Vec<String>,
    /// Seed for random decisions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Duration of the row `soak`, in minutes.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    minutes: u32,
    #[command(flatten)]
    json: JsonFlag,
}

/// The programs to measure, and the seed for random decisions.
#[derive(Debug)]
struct Setup {
    programs: Programs,
    seed: u64,
    soak: Duration,
}

/// The measured values as text, and whether they meet the goal.
type Measured = Result<(String, bool), Failure>;

/// One row of the table.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    result: String,
    goal: &'static str,
    /// Whether the goal is met; `None` for a row without a goal.
    holds: Option<bool>,
}

/// Measures the selected rows, and prints them. Returns whether every goal is met. A failed measurement counts
/// as a missed goal; the rows after it are still measured.
pub async fn run(Arguments { only, seed, minutes, json }: Arguments) -> Result<bool, Failure> {
    let setup = Setup { programs: Programs::build()?, seed, soak: Duration::from_secs(60) * minutes };
    let mut rows = Vec::new();
    for promise in ROWS {
        let is_chosen = only.is_empty() || only.iter().any(|prefix| promise.name.starts_with(prefix));
        if !is_chosen {
            continue;
        }
        eprintln!("promises: {}", promise.name);
        let measured = (promise.measure)(&setup).await;
        let (result, holds) = measured.unwrap_or_else(|failure| (format!("not measured: {failure}"), false));
        let holds = (!promise.goal.is_empty() || !holds).then_some(holds);
        rows.push(Row { name: promise.name, what: promise.what, result, goal: promise.goal, holds });
    }
    json.write(&rows, &table(&rows))?;
    Ok(rows.iter().all(|row| row.holds != Some(false)))
}

fn prefix_of_rows(prefix: &str) -> Result<String, String> {
    if ROWS.iter().any(|row| row.name.starts_with(prefix)) {
        return Ok(prefix.to_owned());
    }
    Err(format!("unknown row; the rows are: {}", ROWS.map(|row| row.name).join(", ")))
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(11);
    let mut text = String::new();
    for Row { name, what, result, goal, holds } in rows {
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        text += &format!("{name:<width$} {what}\n{:<width$} {result}\n", "");
        if holds.is_some() {
            text += &format!("{:<width$} goal: {goal}: {verdict}\n", "");
        }
    }
    text
}
