//! Whether a lookup fails that an application makes as soon as it runs; see `podlocal_experiments::first_lookups`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::first_lookups::{self, Lookups, Options};

/// Starts injected pods on the cluster that KUBECONFIG names, `just cluster up` starts one, whose init container and
/// application resolve a name as their first act, beside a pod that uses the CPU. Exits with 1 when a lookup failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many pods in all.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pods: u16,
    /// How many are created at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    group: u16,
    /// The CPU that a Guaranteed pod uses meanwhile; "" for none.
    #[arg(long, value_name = "QUANTITY", default_value = "1")]
    load: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { pods, group, load } = Arguments::parse();
    let options =
        Options { pods: pods.into(), group: group.into(), load: Some(load).filter(|load| !load.is_empty()) };
    let mut lookups = Lookups::default();
    let result = first_lookups::run(&options, &mut lookups).await;
    println!("{}", lookups.summary());
    for error in &lookups.errors {
        println!("  {error}");
    }
    match result {
        Ok(()) if lookups.errors.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("first-lookups: {failure}");
            ExitCode::FAILURE
        }
    }
}
