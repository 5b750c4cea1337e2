//! Tests whether the first lookup of a starting application fails; see `podlocal_experiments::first_lookups`.

use std::process::ExitCode;

use clap::Parser;
use podlocal_experiments::first_lookups::{self, Lookups, Options};

/// Starts injected pods on the cluster of KUBECONFIG (`just cluster up` starts one). The init container and
/// the application of each pod resolve a name immediately, while another pod uses the CPU. Exits with 1 when
/// a lookup failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of pods.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pods: u16,
    /// Number of pods that are created at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    group: u16,
    /// CPU that a Guaranteed pod uses in the meantime; "" for none.
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
