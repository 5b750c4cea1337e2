//! What the programs share: the flag `--json`, the end after a signal, the exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use podlocal_harness::failure::{Failure, WithContext as _};

/// The flag with the file for the results.
#[derive(Debug, Clone, clap::Args)]
pub struct JsonFlag {
    /// Write the results as JSON to a file, or with `-` to standard output instead of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

impl JsonFlag {
    /// Writes the table to standard output, or the JSON when the file is `-`; otherwise writes the JSON also to
    /// the file.
    pub fn write(&self, figures: &impl Serialize, table: &str) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(figures).with_context("writing JSON")? + "\n";
        let file = self.json.as_deref().filter(|file| *file != Path::new("-"));
        let text = if self.json.is_some() && file.is_none() { &json } else { table };
        std::io::stdout().write_all(text.as_bytes()).with_context("writing the figures")?;
        file.map_or(Ok(()), |file| {
            std::fs::write(file, &json).with_context(|| format!("writing {}", file.display()))
        })
    }
}

/// Works until the end, or until SIGINT or SIGTERM, which are failures: so the caller cleans up.
pub(crate) async fn until_signal(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut terminated = signal(SignalKind::terminate()).with_context("listening for SIGTERM")?;
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminated.recv() => Err(Failure::new("terminated")),
    }
}

/// The exit code: 0 only for `true`. A failure is printed.
pub fn exit_code(program: &str, result: Result<bool, Failure>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::FAILURE
        }
    }
}
