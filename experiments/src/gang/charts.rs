//! Figures -> plots: the load of cluster DNS, and its effect on the pods.

use super::arm::Arm;
use super::figures::Figures;
use crate::plot::{Axis, Chart, Line, Page, distribution};
use podlocal_harness::model::cluster_dns::{STEP, waiting};

/// Four charts: the queue and the answers over time, and the distributions of lookups and pods over time.
pub fn page(title: String, arms: &[Figures]) -> Page {
    let queue =
        |figures: &Figures| over_time(waiting(&figures.steps).into_iter().map(|waiting| waiting as f64));
    let answers = |figures: &Figures| {
        let so_far = figures.steps.iter().scan(0, |sum, step| {
            *sum += step.answered;
            Some(*sum as f64)
        });
        over_time(so_far)
    };
    let chart = |title: &str, x, y, points: &dyn Fn(&Figures) -> Vec<(f64, f64)>| {
        let line = |figures: &Figures| Line {
            name: figures.arm.name().to_owned(),
            colour: colour(figures.arm),
            points: points(figures),
        };
        let lines = arms.iter().map(line).collect();
        Chart { title: title.to_owned(), x, y: Axis::linear(y), lines }
    };
    let time = || Axis::linear("seconds since the first start");
    let charts = vec![
        chart("Waiting queries at cluster DNS", time(), "queries", &queue),
        chart("Answers of cluster DNS, cumulative", time(), "answers", &answers),
        chart(
            "Lookups by duration, cumulative",
            Axis::logarithmic("milliseconds"),
            "% of lookups",
            &|figures| distribution(&figures.lookup_milliseconds, 100.0),
        ),
        chart(
            "Pods with all their names, cumulative (none: the gang never started)",
            Axis::logarithmic("seconds since the first start"),
            "% of pods",
            &|figures| distribution(&figures.started_seconds, 100.0),
        ),
    ];
    Page { title, charts }
}

/// The colour of an arm, the same on every page.
fn colour(arm: Arm) -> usize {
    Arm::ALL.iter().position(|other| *other == arm).unwrap_or_default()
}

fn over_time(values: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    values.enumerate().map(|(index, value)| (index as f64 * STEP.as_secs_f64(), value)).collect()
}
