//! Outcomes -> table and charts.

use super::model::Outcome;
use crate::gang::arm::Arm;
use crate::gang::charts::colour;
use podlocal_harness::table::{align, percentile};
use crate::plot::{Axis, Chart, Line, Page};

/// One gang, simulated.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// How its pods resolve.
    pub arm: Arm,
    /// How many.
    pub pods: usize,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A line for each gang.
pub fn table(rows: &[Row]) -> String {
    let header = ["arm", "pods", "queries", "per pod", "dropped", "restarts", "started", "p50 s", "max s"];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let Outcome { queries, dropped, restarts, started_seconds, .. } = &row.outcome;
        let is_started = !started_seconds.is_empty();
        let seconds = |share| {
            if is_started { format!("{:.2}", percentile(started_seconds, share)) } else { "-".to_owned() }
        };
        [
            row.arm.name().to_owned(),
            row.pods.to_string(),
            queries.to_string(),
            per_pod(*queries as f64 / row.pods.max(1) as f64),
            dropped.to_string(),
            restarts.to_string(),
            if is_started { "yes" } else { "never" }.to_owned(),
            seconds(0.5),
            seconds(1.0),
        ]
    }));
    align(&lines)
}

fn per_pod(queries: f64) -> String {
    if queries < 1.0 { format!("{queries:.2}") } else { format!("{queries:.1}") }
}

/// How the load on cluster DNS and the time to a started gang grow with it.
pub fn page(title: String, rows: &[Row]) -> Page {
    let lines = |value: fn(&Outcome) -> Option<f64>| {
        let line = |arm: Arm| {
            let of_arm = rows.iter().filter(|row| row.arm == arm);
            let points = of_arm.filter_map(|row| value(&row.outcome).map(|y| (row.pods as f64, y)));
            Line { name: arm.name().to_owned(), colour: colour(arm), points: points.collect() }
        };
        Arm::ALL.into_iter().map(line).collect()
    };
    let chart = |title: &str, y: Axis, lines| Chart {
        title: title.to_owned(),
        x: Axis::logarithmic("pods in the gang"),
        y,
        lines,
    };
    let charts = vec![
        chart(
            "Queries at cluster DNS until the gang has started or given up",
            Axis::logarithmic("queries"),
            lines(|outcome| Some(outcome.queries as f64)),
        ),
        chart(
            "The last pod has its names (none: the gang never started)",
            Axis::logarithmic("seconds since the first start"),
            lines(|outcome| outcome.started_seconds.last().copied()),
        ),
    ];
    Page { title, charts }
}
