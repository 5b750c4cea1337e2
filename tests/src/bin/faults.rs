//! Measures what the sidecar does when things go wrong; see `podlocal_tests::faults`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_tests::faults::rows;
use podlocal_tests::promises::{self, Options};

/// Runs the real sidecar in front of an upstream that loses, delays, dies and returns, and prints what its clients
/// see, beside what is promised. Exit code 1: a promise is not held.
///
/// Build it with --release: the figures of an unoptimised program mean nothing.
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
