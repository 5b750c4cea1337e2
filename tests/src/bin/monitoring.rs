//! The metrics, the dashboard and the alerts, for Prometheus' own tools; see `podlocal_tests::monitoring`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;
use podlocal_tests::monitoring::{files, outage, programs};

/// Tests the dashboard and the alerts with Prometheus.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write files for promtool: the metrics of each program (`check metrics`), the alerts and the
    /// expressions of the dashboard (`check rules`).
    Files {
        /// The folder for the files.
        folder: PathBuf,
    },
    /// Run the programs with an outage while Prometheus scrapes them. Exits with 1 when an expression of the
    /// dashboard has no data, or not the labels of its legend.
    Outage {
        /// Duration of the run, in seconds.
        #[arg(long, value_name = "NUMBER", default_value_t = 24)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("monitoring: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Files { folder } => {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            files::write_rules(&folder)?;
            for (program, page) in programs::pages(&Programs::build()?).await? {
                let file = folder.join(program).with_extension("prom");
                fs::write(&file, page).with_context(|| format!("writing {}", file.display()))?;
            }
            Ok(())
        }
        Command::Outage { seconds } => {
            let length = Duration::from_secs(seconds);
            let incomplete = outage::incomplete_expressions(&Programs::build()?, length).await?;
            if incomplete.is_empty() {
                return Ok(());
            }
            let list = incomplete.join("\n");
            Err(Failure::new(format!(
                "these expressions of the dashboard have no data, or not their labels:\n{list}"
            )))
        }
    }
}
