//! Tests the promises of the product on the cluster of `KUBECONFIG`; see README.md.

mod attacks;
mod check;
mod creations;
mod documents;
mod faults;
mod forward_zones;
mod injection;
mod install;
mod lookups;
mod models;
mod ranks;
mod runner;
mod truncation;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests = [
        faults::tests(),
        injection::tests(),
        lookups::tests(),
        forward_zones::tests(),
        truncation::tests(),
        models::tests(),
        ranks::tests(),
        check::tests(),
        attacks::tests(),
        install::tests(),
        documents::tests(),
    ];
    runner::run(tests.into_iter().flatten().collect())
}
