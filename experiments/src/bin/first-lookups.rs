//! Tests whether the first lookup of a starting application fails; see `podlocal_experiments::first_lookups`.

use std::process::ExitCode;

use clap::Parser as _;
use podlocal_experiments::first_lookups;

#[tokio::main]
async fn main() -> ExitCode {
    first_lookups::main(first_lookups::Options::parse()).await
}
