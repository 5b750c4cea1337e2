//! Outcomes -> table and charts.

use podlocal_harness::table::{columns, percentile};

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
    let pod_seconds = |row: &Row, share| match percentile(&row.outcome.pod_seconds, share) {
        seconds if seconds.is_finite() => format!("{seconds:.2}"),
        _ => "fails".to_owned(),
    };
    columns(
        rows,
        &[
            ("arm", &|row| row.arm.name().to_owned()),
            ("cluster DNS", &|row| row.cluster_dns.clone()),
            ("pods", &|row| row.pods.to_string()),
            ("queries", &|row| row.outcome.queries.to_string()),
            ("per pod", &|row| format!("{:.2}", row.outcome.queries as f64 / row.pods as f64)),
            ("dropped", &|row| row.outcome.dropped.to_string()),
            ("failed", &|row| format!("{} of {}", row.outcome.failed, row.outcome.lookup_seconds.len())),
            ("p50 s", &|row| pod_seconds(row, 0.5)),
            ("p99 s", &|row| pod_seconds(row, 0.99)),
            ("max s", &|row| pod_seconds(row, 1.0)),
        ],
    )
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
            // The colours of the same arms in `gang`; the arm `Once` is only a reference.
            lines: [0, 1, 3, 4].into_iter().zip(Arm::ALL).map(line).collect(),
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
