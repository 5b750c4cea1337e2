//! The report as bar charts.

use super::report::Report;
use crate::plot::{Bar, BarChart, Page};

/// One chart for each line that has a title; a subject has the same colour on all of them.
pub fn page(report: &Report) -> Page<BarChart> {
    let charted = report.lines.iter().filter_map(|line| Some((line, line.line.chart?)));
    let charts = charted.map(|(line, title)| {
        let bar = |(colour, subject): (usize, &&'static str)| {
            let figure = line.figure(subject)?;
            Some(Bar {
                name: (*subject).to_owned(),
                value: figure.median,
                text: line.shown(figure.median),
                colour,
            })
        };
        BarChart {
            title: title.to_owned(),
            bars: report.subjects.iter().enumerate().filter_map(bar).collect(),
        }
    });
    Page {
        title: "The sidecar, a bare echo and other forwarders, on one core".to_owned(),
        charts: charts.collect(),
    }
}
