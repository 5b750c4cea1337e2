//! The process of one pod; see `podlocal_harness::model::pod`.

use std::process::ExitCode;

fn main() -> ExitCode {
    podlocal_harness::model::pod::sandbox_main()
}
