//! Measures the shared tier between sidecars and cluster DNS; see `podlocal_experiments::shared_tier`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::promises::{self, Options};
use podlocal_experiments::shared_tier::{NAMES, measure};

/// Runs the real sidecar as a shared tier, with sidecars in front of it and a cluster DNS behind it, and
/// prints the results for gangs, outages and hostile pods, together with the goals. Exits with 1 when a goal
/// is missed.
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
    promises::main("shared-tier", &NAMES, options, measure).await
}
