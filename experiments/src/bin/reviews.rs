//! Measures the webhook; see `podlocal_experiments::reviews`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use podlocal_experiments::reviews::{Figures, Load, measure, table};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::job::DEFAULT_MANIFEST;
use podlocal_harness::programs::Programs;

/// The Job whose pods are reviewed.
/// Sends admission reviews to the real webhook over HTTPS, first as fast as the webhook answers, then at a
/// fixed rate. Prints the latency for the client and the CPU time and memory of the webhook. Exits with 1
/// when a review was not answered with a patch.
///
/// Build it with --release: measurements of an unoptimised program mean nothing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of connections, each with one review in flight.
    #[arg(long, default_value_t = 200)]
    concurrent: usize,
    /// Number of reviews in each of the two measurements.
    #[arg(long, default_value_t = 20_000)]
    reviews: usize,
    /// Reviews per second in the measurement at a fixed rate.
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Webhook to measure; default: that of this workspace.
    #[arg(long, value_name = "FILE")]
    webhook: Option<PathBuf>,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(rows) if rows.iter().all(|row| row.failed == 0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("reviews: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<Vec<Figures>, Failure> {
    let webhook = match arguments.webhook {
        Some(file) => file,
        None => Programs::build()?.webhook,
    };
    let mut rows = Vec::new();
    for rate in [None, Some(arguments.rate)] {
        let load = Load { concurrent: arguments.concurrent, reviews: arguments.reviews, rate };
        let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}");
        let progress =
            ProgressBar::new(load.reviews as u64).with_style(style.with_context(|| "the style".to_owned())?);
        progress
            .set_message(rate.map_or("as fast as possible".to_owned(), |rate| format!("{rate} a second")));
        rows.push(measure(&webhook, DEFAULT_MANIFEST, load, &progress).await?);
        progress.finish_and_clear();
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&rows).with_context(|| "writing JSON".to_owned())? + "\n"
    } else {
        table(&rows)
    };
    std::io::stdout().write_all(text.as_bytes()).with_context(|| "writing the table".to_owned())?;
    Ok(rows)
}
