//! Measures promises, and compares the results with goals; see `podlocal_experiments::promises`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::promises::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("promises: {failure}");
            ExitCode::FAILURE
        }
    }
}
