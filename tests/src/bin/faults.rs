//! Measures what the sidecar does when things go wrong; see `podlocal_tests::faults`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::faults::{Row, rows, table};
use podlocal_tests::programs::Programs;

/// Runs the real sidecar in front of an upstream that loses, delays, dies and returns, and prints what its clients
/// see, beside what is promised. Exit code 1: a promise is not held.
///
/// Build it with --release: the figures of an unoptimised program mean nothing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measure these rows alone; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The sidecar to measure; default: the one of this workspace.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
    /// Decides which datagrams are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON in place of the table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("faults: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise holds.
async fn run(arguments: Arguments) -> Result<bool, Failure> {
    let sidecar = match arguments.sidecar {
        Some(file) => file,
        None => Programs::build()?.sidecar,
    };
    let mut measured: Vec<Row> = Vec::new();
    let all = rows::NAMES.map(str::to_owned).to_vec();
    for name in if arguments.only.is_empty() { all } else { arguments.only } {
        eprintln!("faults: {name}");
        measured.push(rows::measure(&name, &sidecar, arguments.seed).await?);
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&measured).tried(|| "writing JSON".to_owned())? + "\n"
    } else {
        table(&measured)
    };
    std::io::stdout().write_all(text.as_bytes()).tried(|| "writing the table".to_owned())?;
    let missed: Vec<_> = measured.iter().filter(|row| row.holds == Some(false)).map(|row| row.name).collect();
    if !missed.is_empty() {
        eprintln!("faults: not held: {}", missed.join(", "));
    }
    Ok(missed.is_empty())
}
