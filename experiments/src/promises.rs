//! Promises that are measured: a program measures one row after the other, and prints each with its goal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;

/// One promise: the measurement, and whether the goal is met.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The name, as in `--only`.
    pub name: &'static str,
    /// The setup of the measurement.
    pub what: String,
    /// The measured values.
    pub result: String,
    /// The goal.
    pub goal: &'static str,
    /// Whether the goal is met; `None` for a measurement without a goal.
    pub holds: Option<bool>,
}

/// The command-line options of such a program.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Measure only these rows; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Sidecar to measure; default: that of this workspace.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
    /// Seed for random decisions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// Measures the selected rows with the sidecar and the seed, and prints them. Exit code 1: a goal is missed,
/// or nothing could be measured.
pub async fn main<Measure>(
    program: &str,
    names: &[&'static str],
    options: Options,
    measure: Measure,
) -> ExitCode
where
    Measure: AsyncFn(&'static str, &Path, u64) -> Result<Row, Failure>,
{
    match run(program, names, options, measure).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every goal is met. A failed measurement counts as a missed goal; the rows after it are
/// still measured.
async fn run<Measure>(
    program: &str,
    names: &[&'static str],
    options: Options,
    measure: Measure,
) -> Result<bool, Failure>
where
    Measure: AsyncFn(&'static str, &Path, u64) -> Result<Row, Failure>,
{
    let Options { only, sidecar, seed, json } = options;
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(no_such_row(unknown, names));
    }
    let sidecar = match sidecar {
        Some(file) => file,
        None => Programs::build()?.sidecar,
    };
    let mut measured: Vec<Row> = Vec::new();
    for name in names.iter().filter(|name| only.is_empty() || only.iter().any(|wanted| wanted == *name)) {
        eprintln!("{program}: {name}");
        measured.push(measure(name, &sidecar, seed).await.unwrap_or_else(|failure| Row {
            name,
            what: "not measured".to_owned(),
            result: failure.to_string(),
            goal: "",
            holds: Some(false),
        }));
    }
    let text = if json {
        serde_json::to_string_pretty(&measured).with_context(|| "writing JSON".to_owned())? + "\n"
    } else {
        table(&measured)
    };
    std::io::stdout().write_all(text.as_bytes()).with_context(|| "writing the table".to_owned())?;
    let missed: Vec<_> = measured.iter().filter(|row| row.holds == Some(false)).map(|row| row.name).collect();
    if !missed.is_empty() {
        eprintln!("{program}: missed goals: {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}

/// The error for an unknown row.
pub fn no_such_row(name: &str, names: &[&str]) -> Failure {
    Failure::new(format!("unknown row {name:?}; the rows are: {}", names.join(", ")))
}

/// The rows as a printed table.
pub fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(11);
    let mut text = String::new();
    for Row { name, what, result, goal, holds } in rows {
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        text += &format!("{name:<width$} {what}\n{:<width$} {result}\n", "");
        if !goal.is_empty() {
            text += &format!("{:<width$} goal: {goal}: {verdict}\n", "");
        }
    }
    text
}
