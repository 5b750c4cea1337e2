//! Outcomes -> table and charts.

use podlocal_harness::table::{align, percentile};

use super::Arm;
use super::gang::Outcome;
use crate::plot::{Axis, Chart, Line, Page};

/// One simulated gang.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// The DNS configuration of its pods.
    pub arm: Arm,
    /// The number of pods.
    pub pods: usize,
    /// The capacity of cluster DNS, in words.
    pub cluster_dns: String,
    /// The result.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The table, with one line for each gang.
pub fn table(rows: &[Row]) -> String {
    let header =
        ["arm", "cluster DNS", "pods", "queries", "per pod", "dropped", "failed", "p50 s", "p99 s", "max s"];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows.iter().map(|Row { arm, pods, cluster_dns, outcome }| {
        let seconds = |share| match percentile(&outcome.pod_seconds, share) {
            seconds if seconds.is_finite() => format!("{seconds:.2}"),
            _ => "fails".to_owned(),
        };
        [
            arm.name().to_owned(),
            cluster_dns.clone(),
            pods.to_string(),
            outcome.queries.to_string(),
            format!("{:.2}", outcome.queries as f64 / *pods as f64),
            outcome.dropped.to_string(),
            format!("{} of {}", outcome.failed, outcome.lookup_seconds.len()),
            seconds(0.5),
            seconds(0.99),
            seconds(1.0),
        ]
    }));
    align(&lines)
}

/// For each capacity, the queries to cluster DNS per pod and the time of the last pod, by the size of the
/// gang.
pub fn page(title: String, rows: &[Row]) -> Page {
    let mut capacities: Vec<_> = rows.iter().map(|row| &row.cluster_dns).collect();
    capacities.dedup();
    let chart = |capacity: &String, what: &str, value: fn(&Row) -> f64| {
        let line = |(colour, arm): (usize, Arm)| {
            let of_arm = rows.iter().filter(|row| row.arm == arm && row.cluster_dns == *capacity);
            let points = of_arm.map(|row| (row.pods as f64, value(row)));
            let points = points.filter(|(_, value)| value.is_finite()).collect();
            Line { name: arm.name().to_owned(), colour, points }
        };
        Chart {
            title: format!("{what}; cluster DNS: {capacity}"),
            x: Axis::logarithmic("pods in the gang"),
            y: Axis::logarithmic(""),
            lines: (0..).zip(Arm::ALL).filter(|(_, arm)| *arm != Arm::Once).map(line).collect(),
        }
    };
    let charts = capacities.into_iter().flat_map(|capacity| {
        [
            chart(capacity, "Queries for each pod", |row| row.outcome.queries as f64 / row.pods as f64),
            chart(capacity, "p99 of a pod in seconds (none: fails)", |row| {
                percentile(&row.outcome.pod_seconds, 0.99)
            }),
        ]
    });
    Page { title, charts: charts.collect() }
}
