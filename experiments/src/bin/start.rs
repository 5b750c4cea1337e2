//! Measures the cost of injection for a node when pods start; see `podlocal_experiments::start`.

use std::process::ExitCode;

use clap::Parser as _;
use podlocal_experiments::start;

#[tokio::main]
async fn main() -> ExitCode {
    start::main(start::Options::parse()).await
}
