//! Writes the man pages and the completions of all programs, from the descriptions behind their `--help`:
//! `cargo run -p podlocal-release --example pages -- DIRECTORY [DATE]`.
//!
//! The files lie as below `/usr/local`; the date, such as 2026-01-31, is the one on the man pages. A
//! generator apart, and not a command of the programs: nobody completes anything inside a pod, and every node
//! would pull it.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use podlocal_inspect::arguments::Arguments;

mod completions;
mod man;

/// Exit code: invalid usage, `EX_USAGE` of sysexits(3).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (directory, date) = match arguments.as_slice() {
        [directory] => (directory, ""),
        [directory, date] => (directory, date.as_str()),
        _ => {
            eprintln!("pages: expected DIRECTORY [DATE], such as dist/share 2026-01-31");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match write_all(Path::new(directory), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &Path, date: &str) -> io::Result<()> {
    for program in [podlocal_sidecar::cli::about(), podlocal_webhook::flags::about()] {
        write_page(directory, program.name, &man::page(&program, date))?;
        write_completions(directory, &completions::command(&program))?;
    }
    let inspect = Arguments::command();
    for (name, page) in man::pages_of_clap(&inspect, date)? {
        write_page(directory, &name, &page)?;
    }
    write_completions(directory, &inspect)
}

fn write_page(directory: &Path, name: &str, page: &str) -> io::Result<()> {
    write(&directory.join(format!("share/man/man1/{name}.1")), page)
}

/// The folders are those that the shells read below /usr/local: bash-completion, zshcompsys(1),
/// fish-completions(1).
fn write_completions(directory: &Path, command: &Command) -> io::Result<()> {
    let name = command.get_name();
    for (file, shell) in [
        (format!("share/bash-completion/completions/{name}"), Shell::Bash),
        (format!("share/zsh/site-functions/_{name}"), Shell::Zsh),
        (format!("share/fish/vendor_completions.d/{name}.fish"), Shell::Fish),
    ] {
        write(&directory.join(file), &completions::script(command, shell))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)
}
