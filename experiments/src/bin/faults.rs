//! Measures how the sidecar behaves during faults; see `podlocal_experiments::faults`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::faults::rows;
use podlocal_experiments::promises::{self, Options};

/// Runs the real sidecar in front of an upstream that drops queries, delays answers, stops and returns, and
/// prints the results for its clients, together with the goals. Exits with 1 when a goal is missed.
///
/// Build it with --release: measurements of an unoptimised program mean nothing.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { options } = Arguments::parse();
    promises::main("faults", &rows::NAMES, options, rows::measure).await
}
