//! Measures what a tier between sidecars and cluster DNS does; see `podlocal_tests::shared_tier`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_tests::promises::{self, Options};
use podlocal_tests::shared_tier::{NAMES, measure};

/// Runs the real sidecar as a shared tier, with sidecars in front of it and a cluster DNS behind it, and prints what
/// gangs, outages and hostile pods come to, beside what is promised. Exit code 1: a promise is not held.
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
    promises::main("shared-tier", &NAMES, options, measure).await
}
