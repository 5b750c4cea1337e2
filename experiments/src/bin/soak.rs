//! Mixed load and faults for a chosen time; see `podlocal_experiments::soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use podlocal_experiments::plot::PlotFlag;
use podlocal_experiments::soak::{DESCRIPTORS, MEBIBYTES, Sample, is_flat, most_of_halves, page, run};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::Programs;

/// Loads a sidecar with known and new names and with hostile packets, while its upstream in turn drops
/// datagrams, delays answers, is silent and is down. Samples its memory and file descriptors every second,
/// and plots them. Exits with 1 when they grew.
#[derive(Debug, Parser)]
struct Arguments {
    /// Duration in minutes.
    #[arg(long, value_name = "NUMBER", default_value_t = 10.0, conflicts_with = "hours")]
    minutes: f64,
    /// Duration in hours, instead of --minutes.
    #[arg(long, value_name = "NUMBER")]
    hours: Option<f64>,
    /// Seed for the lost datagrams.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Write the samples as JSON to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    plot: PlotFlag,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("soak: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<bool, Failure> {
    let minutes = arguments.hours.map_or(arguments.minutes, |hours| hours * 60.0);
    if !(minutes > 0.0 && minutes < 1e6) {
        return Err(Failure::new(format!("--minutes: {minutes}: expected a time above 0")));
    }
    let programs = Programs::build()?;
    let progress = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {elapsed} of {len} s  {msg}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let samples =
        run(&programs.sidecar, Duration::from_secs_f64(minutes * 60.0), arguments.seed, &progress).await?;
    progress.finish_and_clear();
    for (name, value) in [("MiB", MEBIBYTES), ("descriptors", DESCRIPTORS)] {
        let [first, second] = most_of_halves(&samples, value);
        let begin = samples.first().map_or(0.0, value);
        println!(
            "{name}: at the start {begin:.1}, maximum in the first half {first:.1}, in the second half {second:.1}"
        );
    }
    let sum = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
    println!(
        "{minutes} minutes: {} answered, {} SERVFAIL, {} without an answer",
        sum(|sample| sample.answered),
        sum(|sample| sample.failed),
        sum(|sample| sample.silent)
    );
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string(&samples).with_context(|| "writing the samples".to_owned())?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    arguments.plot.write(&page(&samples), "soak")?;
    let is_flat = is_flat(&samples);
    if !is_flat {
        eprintln!("soak: memory or descriptors grew in the second half; --json keeps every sample");
    }
    Ok(is_flat)
}
