//! Mixed load and faults for as long as one likes; see `podlocal_tests::soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::programs::{Programs, target_directory};
use podlocal_tests::soak::{is_flat, page, run};

/// Loads a sidecar with known and new names and with hostile packets, while its upstream loses, delays, is silent and
/// goes away in turn; samples its memory and descriptors every second, and draws them. Exit code 1: they grew.
#[derive(Debug, Parser)]
struct Arguments {
    /// For how long.
    #[arg(long, value_name = "NUMBER", default_value_t = 10.0, conflicts_with = "hours")]
    minutes: f64,
    /// For how many hours instead.
    #[arg(long, value_name = "NUMBER")]
    hours: Option<f64>,
    /// Which datagrams are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Write the samples as JSON to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the plot is written: PREFIX.svg and PREFIX.png; default: `soak` in cargo's target directory.
    #[arg(long, value_name = "PREFIX")]
    plot: Option<PathBuf>,
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
    let most =
        |value: &dyn Fn(usize) -> f64, from: usize, to: usize| (from..to).map(value).fold(0.0, f64::max);
    let half = samples.len() / 2;
    for (name, value) in [
        ("MiB", &(|index: usize| samples[index].mebibytes) as &dyn Fn(usize) -> f64),
        ("descriptors", &|index| samples[index].descriptors as f64),
    ] {
        println!(
            "{name}: at first {:.1}, most in the first half {:.1}, in the second {:.1}",
            value(0),
            most(value, 0, half),
            most(value, half, samples.len())
        );
    }
    let sum = |value: fn(&podlocal_tests::soak::Sample) -> u64| samples.iter().map(value).sum::<u64>();
    println!(
        "{minutes} minutes: {} answered, {} SERVFAIL, {} without an answer",
        sum(|sample| sample.answered),
        sum(|sample| sample.failed),
        sum(|sample| sample.silent)
    );
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string(&samples).tried(|| "writing the samples".to_owned())?;
        std::fs::write(file, text).tried(|| format!("writing {}", file.display()))?;
    }
    let prefix = arguments.plot.clone().map_or_else(|| Ok(target_directory()?.join("soak")), Ok)?;
    let [svg, png] = page(&samples).write(&prefix)?;
    eprintln!("plots: {} and {}", svg.display(), png.display());
    let is_flat = is_flat(&samples);
    if !is_flat {
        eprintln!("soak: memory or descriptors grew in the second half; --json keeps every sample");
    }
    Ok(is_flat)
}
