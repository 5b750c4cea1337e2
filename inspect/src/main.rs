//! `podlocal-inspect`: parses the arguments, runs the command, and returns its exit code.

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::Parser as _;
use podlocal_inspect::arguments::{Arguments, Command, NAME, USAGE_ERROR};
use podlocal_inspect::{lookup, stats};
use podlocal_settings::read::SettingError;
use podlocal_settings::table::ADMIN_PORT;

fn main() -> ExitCode {
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // fails if the reader has closed the pipe
            // clap would exit with 2, which means here that the name does not exist.
            return if error.use_stderr() { ExitCode::from(USAGE_ERROR) } else { ExitCode::SUCCESS };
        }
    };
    let variable = std::env::var_os(ADMIN_PORT.variable());
    let port = match arguments.check(variable.as_deref().map(OsStr::to_string_lossy).as_deref()) {
        Ok(port) => port,
        Err(errors) => return refuse(&errors),
    };
    let end = match &arguments.command {
        Command::Lookup(lookup) => lookup::run(lookup, arguments.json, port),
        Command::Stats(stats) => stats::run(stats, arguments.json, port),
    };
    end.unwrap_or_else(|failure| {
        eprintln!("{NAME}: {failure}");
        ExitCode::FAILURE
    })
}

fn refuse(errors: &[SettingError]) -> ExitCode {
    eprintln!("{NAME}: invalid arguments:");
    for error in errors {
        eprintln!("  {error}");
    }
    eprintln!("See {NAME} --help.");
    ExitCode::from(USAGE_ERROR)
}
