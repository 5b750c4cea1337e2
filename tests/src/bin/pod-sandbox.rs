//! The process of one pod; see `podlocal_tests::pod`.

use std::process::ExitCode;

fn main() -> ExitCode {
    podlocal_tests::pod::sandbox_main()
}
