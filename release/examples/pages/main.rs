//! Writes the man pages and the completions of all programs, from what their `--help` is made of:
//! `cargo run -p podlocal-release --example pages -- DIRECTORY [DATE]`.
//!
//! The files lie as below `/usr/local`; the date, such as 2026-01-31, is the one on the man pages. A
//! generator apart, and not a command of the programs: nobody completes anything inside a pod, and every node
//! would pull it.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};

mod man;
mod sidecar;

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

pub(crate) fn programs() -> [Command; 3] {
    let inspect = podlocal_inspect::arguments::Arguments::command();
    [sidecar::command(), inspect, podlocal_webhook::config::Arguments::command()]
}

pub(crate) fn write_all(directory: &Path, date: &str) -> io::Result<()> {
    for program in programs() {
        for (name, page) in man::pages(program.clone(), date)? {
            write(&directory.join(format!("share/man/man1/{name}.1")), &page)?;
        }
        write_completions(directory, program)?;
    }
    Ok(())
}

/// The folders are those that the shells read below /usr/local: bash-completion, zshcompsys(1),
/// fish-completions(1).
fn write_completions(directory: &Path, mut program: Command) -> io::Result<()> {
    let name = program.get_name().to_owned();
    // clap_complete escapes the hyphen of a program's name in two ways, so that bash completes nothing after
    // a command (https://github.com/clap-rs/clap/issues/6421); once that is fixed, this replaces nothing.
    let [wrong, right] = ["__subcmd__", "__"].map(|hyphen| name.replace('-', hyphen) + "__subcmd__");
    for (file, shell) in [
        (format!("share/bash-completion/completions/{name}"), Shell::Bash),
        (format!("share/zsh/site-functions/_{name}"), Shell::Zsh),
        (format!("share/fish/vendor_completions.d/{name}.fish"), Shell::Fish),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut program, &name, &mut script);
        write(&directory.join(file), &String::from_utf8_lossy(&script).replace(&wrong, &right))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)
}
