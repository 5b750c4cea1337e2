//! The gang experiment in virtual time; see `podlocal_experiments::simulation`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use podlocal_experiments::plot::PlotFlag;
use podlocal_experiments::program::{JsonFlag, exit_code};
use podlocal_experiments::simulation::Arm;
use podlocal_experiments::simulation::gang::Gang;
use podlocal_experiments::simulation::model::simulate;
use podlocal_experiments::simulation::plan::questions;
use podlocal_experiments::simulation::report::{Row, page, table};
use podlocal_experiments::simulation::server::Capacity;
use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster_dns;

/// Simulates gangs of growing size in each arm of the experiment: the queries that cluster DNS receives, and
/// the time that a pod takes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Sizes of the gangs, in pods.
    #[arg(long, value_name = "NUMBER,..", value_delimiter = ',', default_values_t = [100, 1000, 10_000], value_parser = clap::value_parser!(u32).range(1..))]
    pods: Vec<u32>,
    /// Capacities of cluster DNS, as the seconds that it needs for the queries of the gang's sidecars when
    /// each sidecar asks each question once. Without sidecars there are more than twice as many queries.
    #[arg(long, value_name = "SECONDS,..", value_delimiter = ',', default_values_t = [1.0, 4.0, 8.0], value_parser = parse_seconds)]
    work: Vec<f64>,
    /// Cluster DNS answers waiting queries in random order, not in the order of arrival.
    #[arg(long)]
    any_order: bool,
    /// Share of datagrams that are lost on the network, in each direction.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = cluster_dns::Capacity::parse_loss)]
    loss: f64,
    /// Processes of the shared tier behind one Service.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    tier_replicas: u16,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    plot: PlotFlag,
}

fn main() -> ExitCode {
    exit_code("gang-simulation", run(&Arguments::parse()).map(|()| true))
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=1000.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.1 to 1000".to_owned()),
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { pods, work, any_order, loss, tier_replicas, json, plot } = arguments;
    let bar = ProgressBar::new((work.len() * pods.len() * Arm::ALL.len()) as u64);
    let mut rows = Vec::new();
    for seconds in work {
        for &pods in pods {
            let capacity =
                Capacity::that_answers(pods * questions(Arm::Sidecars), Duration::from_secs_f64(*seconds));
            for arm in Arm::ALL {
                let cluster_dns = Capacity { is_fifo: !any_order, ..capacity };
                let gang = Gang::new(arm, pods as usize, cluster_dns);
                let gang = Gang { tier_replicas: usize::from(*tier_replicas), loss: *loss, ..gang };
                let cluster_dns = format!("{seconds} s of work");
                rows.push(Row { arm, pods: gang.pods, cluster_dns, outcome: simulate(&gang) });
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    json.write(&rows, &table(&rows))?;
    let order = if *any_order { "any order" } else { "order of arrival" };
    let title = format!("Simulated gangs; cluster DNS answers in {order}, {} % loss", loss * 100.0);
    plot.write(&page(title, &rows), "gang-simulation")
}
