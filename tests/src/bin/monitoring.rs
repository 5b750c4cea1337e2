//! The metrics, the dashboard and the alerts; see `podlocal_tests::monitoring`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;
use podlocal_tests::monitoring::{
    DASHBOARD, DOCUMENT, exposition, grafana, in_repository, reference, rules, stage,
};

/// Writes and tests the dashboard and the alerts.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the metrics of a program, for `promtool check metrics`.
    Metrics {
        /// The program.
        #[arg(value_enum)]
        program: exposition::Program,
    },
    /// Write the alerts, and the expressions of the dashboard as rules, to a folder, for `promtool check
    /// rules`.
    Rules {
        /// The folder.
        folder: PathBuf,
    },
    /// Write the dashboard, and the table of metrics in the documentation.
    Write,
    /// Run the programs with an outage while Prometheus scrapes them. Exits with 1 when a panel of the
    /// dashboard is empty.
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
        Command::Metrics { program } => {
            print!("{}", exposition::page(program, &Programs::build()?).await?);
            Ok(())
        }
        Command::Rules { folder } => {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            for (name, rules) in
                [("alerts.json", rules::groups()?), ("dashboard.json", rules::dashboard_rules())]
            {
                // YAML, of which JSON is a part.
                let file = folder.join(name);
                fs::write(&file, format!("{rules:#}\n"))
                    .with_context(|| format!("writing {}", file.display()))?;
            }
            Ok(())
        }
        Command::Write => write(&Programs::build()?).await,
        Command::Outage { seconds } => outage(Duration::from_secs(seconds)).await,
    }
}

async fn write(programs: &Programs) -> Result<(), Failure> {
    let text = format!("{:#}\n", grafana::dashboard());
    fs::write(in_repository(DASHBOARD), text).with_context(|| format!("writing {DASHBOARD}"))?;
    let document =
        fs::read_to_string(in_repository(DOCUMENT)).with_context(|| format!("reading {DOCUMENT}"))?;
    let families = exposition::families_of_programs(programs).await?;
    let written = reference::updated_document(&document, &families);
    let written =
        written.ok_or_else(|| Failure::new(format!("{DOCUMENT} has no markers for the table of metrics")))?;
    fs::write(in_repository(DOCUMENT), written).with_context(|| format!("writing {DOCUMENT}"))
}

async fn outage(length: Duration) -> Result<(), Failure> {
    let empty = stage::empty_panels(&Programs::build()?, length).await?;
    if empty.is_empty() {
        return Ok(());
    }
    let titles = empty.into_iter().collect::<Vec<_>>().join(", ");
    Err(Failure::new(format!("Prometheus has no data for these panels: {titles}")))
}
