//! Promises that are measured: a program measures one row after the other, and prints each beside its goal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::{Failure, Tried};
use crate::programs::Programs;

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

/// What such a program takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Measure these rows alone; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The sidecar to measure; default: the one of this workspace.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
    /// Decides what is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON in place of the table.
    #[arg(long)]
    json: bool,
}

/// Measures the rows that are asked for, with the sidecar and the seed, and prints them. Exit code 1: a promise does not
/// hold, or nothing could be measured.
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

/// Whether every promise holds. A row that could not be measured is not held: those behind it are measured all the same.
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
        serde_json::to_string_pretty(&measured).tried(|| "writing JSON".to_owned())? + "\n"
    } else {
        table(&measured)
    };
    std::io::stdout().write_all(text.as_bytes()).tried(|| "writing the table".to_owned())?;
    let missed: Vec<_> = measured.iter().filter(|row| row.holds == Some(false)).map(|row| row.name).collect();
    if !missed.is_empty() {
        eprintln!("{program}: not held: {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}

/// What to say when a row is asked for that does not exist.
pub fn no_such_row(name: &str, names: &[&str]) -> Failure {
    Failure::new(format!("no row {name:?}; there are: {}", names.join(", ")))
}

/// The rows as a table for people.
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
