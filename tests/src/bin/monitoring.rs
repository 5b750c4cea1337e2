//! The metrics, the dashboard and the alerts; see `podlocal_tests::monitoring`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::monitoring::{
    DASHBOARD, DOCUMENT, drawing, exposition, grafana, in_repository, reference, rules, stage,
};
use podlocal_tests::plot::PlotFlag;
use podlocal_tests::programs::Programs;

/// Writes and checks what the programs are watched with.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what a program exposes, for `promtool check metrics`.
    Metrics {
        /// Which.
        #[arg(value_enum)]
        program: exposition::Program,
    },
    /// Write the alerts, and the dashboard's expressions as rules, into a folder, for `promtool check rules`.
    Rules {
        /// Where.
        folder: PathBuf,
    },
    /// Write the dashboard, and the table of metrics in the docs.
    Write,
    /// Run the programs with an outage, have Prometheus scrape them, and draw the dashboard. Exit code 1: a panel is empty.
    Picture {
        /// For how long.
        #[arg(long, value_name = "NUMBER", default_value_t = 200)]
        seconds: u64,
        #[command(flatten)]
        plot: PlotFlag,
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
            fs::create_dir_all(&folder).tried(|| format!("making {}", folder.display()))?;
            for (name, rules) in
                [("alerts.json", rules::groups()?), ("dashboard.json", rules::of_dashboard())]
            {
                // YAML, of which JSON is a part.
                let file = folder.join(name);
                fs::write(&file, format!("{rules:#}\n")).tried(|| format!("writing {}", file.display()))?;
            }
            Ok(())
        }
        Command::Write => write(&Programs::build()?).await,
        Command::Picture { seconds, plot } => picture(Duration::from_secs(seconds), &plot).await,
    }
}

async fn write(programs: &Programs) -> Result<(), Failure> {
    let text = format!("{:#}\n", grafana::dashboard());
    fs::write(in_repository(DASHBOARD), text).tried(|| format!("writing {DASHBOARD}"))?;
    let document = fs::read_to_string(in_repository(DOCUMENT)).tried(|| format!("reading {DOCUMENT}"))?;
    let families = exposition::of_programs(programs).await?;
    let written = reference::written(&document, &families);
    let written = written.ok_or_else(|| Failure::new(format!("{DOCUMENT} has no marks for its table")))?;
    fs::write(in_repository(DOCUMENT), written).tried(|| format!("writing {DOCUMENT}"))
}

async fn picture(length: Duration, plot: &PlotFlag) -> Result<(), Failure> {
    let programs = Programs::build()?;
    let progress = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {elapsed} of {len} s  {msg}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let page = stage::run(&programs, length, &progress, async |prometheus, span| {
        drawing::Picture::of(&grafana::dashboard(), prometheus, span).await
    });
    let picture = page.await?;
    progress.finish_and_clear();
    plot.write(&picture, "dashboard")?;
    match picture.empty().as_slice() {
        [] => Ok(()),
        empty => Err(Failure::new(format!("Prometheus has nothing for {}", empty.join(", ")))),
    }
}
