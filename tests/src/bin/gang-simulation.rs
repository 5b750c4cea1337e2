//! The gang experiment in virtual time; see `podlocal_tests::simulation`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use podlocal_tests::cluster_dns::Capacity;
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::gang::arm::Arm;
use podlocal_tests::plot::PlotFlag;
use podlocal_tests::simulation::model::{Gang, simulate};
use podlocal_tests::simulation::report::{Row, page, table};
use podlocal_tests::simulation::tier::TierSize;

/// Simulates gangs of growing size in each arm of the experiment: what cluster DNS is asked, and when the gang starts.
#[derive(Debug, Parser)]
struct Arguments {
    /// The sizes of the gangs.
    #[arg(long, value_name = "NUMBER,..", value_delimiter = ',', default_values_t = [100, 200, 500, 1000, 2000, 5000, 10_000])]
    pods: Vec<usize>,
    /// How many pods share a node, and in one arm its cache.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pods_per_node: u32,
    /// Queries that cluster DNS answers in a second, all its replicas together.
    #[arg(long, value_name = "NUMBER", default_value = "20000", value_parser = Capacity::parse_rate)]
    service_rate: f64,
    /// Datagrams that wait at cluster DNS; more are dropped.
    #[arg(long, value_name = "NUMBER", default_value_t = 540)]
    queue: usize,
    /// The share of datagrams that is lost on the way, in each direction.
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = Capacity::parse_loss)]
    loss: f64,
    /// Processes of the shared tier, behind one Service; 0: one on each node, for the pods of that node.
    #[arg(long, value_name = "NUMBER", default_value_t = TierSize::DEFAULT.replicas)]
    tier_replicas: usize,
    /// The cores of each.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    tier_cores: u32,
    /// Answers that each of these cores gives in a second.
    #[arg(long, value_name = "NUMBER", default_value_t = TierSize::DEFAULT.per_second, value_parser = Capacity::parse_rate)]
    tier_rate: f64,
    /// Datagrams that wait for each of these cores; more are dropped.
    #[arg(long, value_name = "NUMBER", default_value_t = TierSize::DEFAULT.queue)]
    tier_queue: usize,
    /// Over how many milliseconds the pods send their first question.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50)]
    spread: u64,
    /// How often a gang is started again after one of its pods has failed.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    restarts: u32,
    /// Which datagrams are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    plot: PlotFlag,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gang-simulation: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { service_rate: per_second, queue, loss, seed, restarts, .. } = *arguments;
    let capacity = Capacity { per_second, queue, loss, seed };
    let tier = TierSize {
        replicas: arguments.tier_replicas,
        cores: usize::try_from(arguments.tier_cores).unwrap_or(1),
        per_second: arguments.tier_rate,
        queue: arguments.tier_queue,
    };
    let bar = ProgressBar::new((arguments.pods.len() * Arm::ALL.len()) as u64);
    let mut rows = Vec::new();
    for arm in Arm::ALL {
        for &pods in &arguments.pods {
            let gang = Gang {
                arm,
                pods,
                pods_per_node: usize::try_from(arguments.pods_per_node).unwrap_or(1),
                spread: Duration::from_millis(arguments.spread),
                capacity,
                tier,
                restarts,
                recreation: Duration::from_secs(1),
            };
            rows.push(Row { arm, pods, outcome: simulate(&gang) });
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    print!("{}", table(&rows));
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&rows).tried(|| "writing the figures".to_owned())?;
        std::fs::write(file, text).tried(|| format!("writing {}", file.display()))?;
    }
    let title = format!(
        "Simulated gangs; {} pods on a node; cluster DNS: {per_second} queries/s, a queue of {queue}, {} % loss; tier: {}",
        arguments.pods_per_node,
        loss * 100.0,
        described(tier)
    );
    arguments.plot.write(&page(title, &rows), "gang-simulation")
}

/// The tier in a few words.
fn described(tier: TierSize) -> String {
    let TierSize { replicas, cores, per_second, .. } = tier;
    let place = if replicas == 0 { "on each node".to_owned() } else { format!("{replicas} replicas") };
    format!("{place}, {cores} x {per_second}/s")
}
