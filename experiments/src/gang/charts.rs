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
    let charts = vec![
        Chart {
            title: "Waiting queries at cluster DNS".to_owned(),
            x: Axis::linear("seconds since the first start"),
            y: Axis::linear("queries"),
            lines: lines(arms, queue),
        },
        Chart {
            title: "Answers of cluster DNS, cumulative".to_owned(),
            x: Axis::linear("seconds since the first start"),
            y: Axis::linear("answers"),
            lines: lines(arms, answers),
        },
        Chart {
            title: "Lookups by duration, cumulative".to_owned(),
            x: Axis::logarithmic("milliseconds"),
            y: Axis::linear("% of lookups"),
            lines: lines(arms, |figures| distribution(&figures.lookup_milliseconds, 100.0)),
        },
        Chart {
            title: "Pods with all their names, cumulative (none: the gang never started)".to_owned(),
            x: Axis::logarithmic("seconds since the first start"),
            y: Axis::linear("% of pods"),
            lines: lines(arms, |figures| distribution(&figures.started_seconds, 100.0)),
        },
    ];
    Page { title, charts }
}

fn lines(arms: &[Figures], points: impl Fn(&Figures) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |figures: &Figures| Line {
        name: figures.arm.name().to_owned(),
        colour: colour(figures.arm),
        points: points(figures),
    };
    arms.iter().map(line).collect()
}

/// The colour of an arm, the same on every page.
pub fn colour(arm: Arm) -> usize {
    Arm::ALL.iter().position(|other| *other == arm).unwrap_or_default()
}

fn over_time(values: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    values.enumerate().map(|(index, value)| (index as f64 * STEP.as_secs_f64(), value)).collect()
}
