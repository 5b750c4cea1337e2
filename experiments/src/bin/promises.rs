//! Measures promises, and compares the results with goals; see `podlocal_experiments::promises`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::program::exit_code;
use podlocal_experiments::promises::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    exit_code("promises", run(Arguments::parse()).await)
}
