//! What the product promises, held against the cluster that `KUBECONFIG` names: README.md.

mod install;
mod lookups;
mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests = [lookups::tests(), install::tests()];
    runner::run(tests.into_iter().flatten().collect())
}
