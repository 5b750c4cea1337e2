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
    /// Capacities of cluster DNS as CPU limits in millicores, instead of seconds of work.
    #[arg(long, value_name = "NUMBER,..", value_delimiter = ',', conflicts_with = "work", value_parser = clap::value_parser!(u32).range(1..))]
    millicores: Vec<u32>,
    /// Cluster DNS answers waiting queries in random order, not in the order of arrival.
    #[arg(long)]
    any_order: bool,
    /// Datagrams that the socket of cluster DNS holds while the CPU limit throttles it; more are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = Capacity::CORE_DNS.buffer)]
    queue: usize,
    /// Share of datagrams that are lost on the network, in each direction.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = cluster_dns::Capacity::parse_loss)]
    loss: f64,
    /// Pods per node; with `--tier-replicas 0` they share the node's process of the shared tier.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pods_per_node: u32,
    /// Processes of the shared tier behind one Service; 0: one process on each node, for the pods of that
    /// node.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    tier_replicas: usize,
    /// Cores of each process of the shared tier.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    tier_cores: u32,
    /// Answers per second of each of these cores.
    #[arg(long, value_name = "NUMBER", default_value = "200000", value_parser = cluster_dns::Capacity::parse_rate)]
    tier_rate: f64,
    /// Datagrams that can wait for each of these cores; more are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 540)]
    tier_queue: usize,
    /// Milliseconds over which the first queries of the pods are spread.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50)]
    spread: u64,
    /// Seed for the lost datagrams and other random decisions.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
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
    let limits = limits(arguments);
    let bar = ProgressBar::new((limits.len() * arguments.pods.len() * Arm::ALL.len()) as u64);
    let mut rows = Vec::new();
    for (limit, capacity) in limits {
        for pods in &arguments.pods {
            for arm in Arm::ALL {
                let gang = gang(arguments, arm, *pods, capacity(*pods));
                rows.push(Row { arm, pods: gang.pods, cluster_dns: limit.clone(), outcome: simulate(&gang) });
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    arguments.json.write(&rows, &table(&rows))?;
    let order = if arguments.any_order { "any order" } else { "order of arrival" };
    let title = format!(
        "Simulated gangs; cluster DNS answers in {order}, {} % loss; {} pods on a node",
        arguments.loss * 100.0,
        arguments.pods_per_node
    );
    arguments.plot.write(&page(title, &rows), "gang-simulation")
}

/// The capacity of cluster DNS, by the size of the gang.
type OfPods = Box<dyn Fn(u32) -> Capacity>;

/// The capacities of cluster DNS, each with its name.
fn limits(arguments: &Arguments) -> Vec<(String, OfPods)> {
    let by_work = |seconds: f64| -> OfPods {
        let time = Duration::from_secs_f64(seconds);
        Box::new(move |pods| Capacity::that_answers(pods * questions(Arm::Sidecars), time))
    };
    let by_limit = |millicores| -> OfPods { Box::new(move |_| Capacity::with_limit(millicores)) };
    if arguments.millicores.is_empty() {
        let work = arguments.work.iter();
        return work.map(|seconds| (format!("{seconds} s of work"), by_work(*seconds))).collect();
    }
    arguments.millicores.iter().map(|number| (format!("{number}m"), by_limit(*number))).collect()
}

fn gang(arguments: &Arguments, arm: Arm, pods: u32, capacity: Capacity) -> Gang {
    let (cores, queue) = (arguments.tier_cores, arguments.tier_queue);
    let cluster_dns = Capacity { buffer: arguments.queue, is_fifo: !arguments.any_order, ..capacity };
    Gang {
        pods_per_node: arguments.pods_per_node as usize,
        spread: Duration::from_millis(arguments.spread),
        tier: Capacity {
            cores,
            work: Duration::from_secs_f64(1.0 / arguments.tier_rate),
            buffer: queue * cores as usize,
            ..Capacity::TIER
        },
        tier_replicas: arguments.tier_replicas,
        loss: arguments.loss,
        seed: arguments.seed,
        ..Gang::new(arm, pods as usize, cluster_dns)
    }
}
