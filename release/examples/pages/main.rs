//! Writes the man pages and the completions of both programs, from the tables behind their `--help`:
//! `cargo run -p podlocal-release --example pages -- DIRECTORY [DATE]`.
//!
//! The files lie as below `/usr/local`; the date, such as 2026-01-31, is the one on the man pages. A
//! generator apart, and not a command of the programs: nobody completes anything inside a pod, and every node
//! would pull it.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap_complete::Shell;
use podlocal_settings::program::Program;

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
    for program in [podlocal_sidecar::cli::about(), podlocal_webhook::flags::about()] {
        if let Err(error) = write(&program, Path::new(directory), date) {
            eprintln!("pages: {directory}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(program: &Program, directory: &Path, date: &str) -> io::Result<()> {
    let name = program.name;
    // The folders that the shells read below /usr/local: bash-completion, zshcompsys(1), fish-completions(1).
    let files = [
        (format!("share/man/man1/{name}.1"), man::page(program, date)),
        (format!("share/bash-completion/completions/{name}"), completions::script(program, Shell::Bash)),
        (format!("share/zsh/site-functions/_{name}"), completions::script(program, Shell::Zsh)),
        (format!("share/fish/vendor_completions.d/{name}.fish"), completions::script(program, Shell::Fish)),
    ];
    for (file, text) in files {
        let file = directory.join(file);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, text)?;
    }
    Ok(())
}
