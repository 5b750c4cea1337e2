//! Figures -> the table.

use podlocal_harness::table::{align, percentile};

use super::figures::Figures;

/// The table, with one line per arm.
pub fn table(arms: &[Figures]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(arms.iter().map(row));
    align(&rows)
}

const HEADER: [&str; 15] = [
    "arm",
    "pods",
    "queries",
    "over TCP",
    "dropped",
    "lost",
    "restarts",
    "failed lookups",
    "lookup p50 ms",
    "p99 ms",
    "max ms",
    "started",
    "p50 s",
    "p99 s",
    "max s",
];

fn row(figures: &Figures) -> [String; 15] {
    let milliseconds = |share| format!("{:.0}", percentile(&figures.lookup_milliseconds, share));
    let seconds = |share| {
        if !figures.has_started() {
            return "-".to_owned();
        }
        format!("{:.2}", percentile(&figures.started_seconds, share))
    };
    [
        figures.arm.name().to_owned(),
        figures.pods.to_string(),
        figures.queries().to_string(),
        figures.queries_tcp.to_string(),
        figures.dropped.to_string(),
        figures.lost.to_string(),
        figures.restarts.to_string(),
        figures.failed.to_string(),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0),
        if figures.has_started() { "yes" } else { "never" }.to_owned(),
        seconds(0.5),
        seconds(0.99),
        seconds(1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gang::arm::Arm;

    #[test]
    fn columns_line_up_and_a_gang_that_never_started_has_no_time() {
        let mut never = Figures::new(Arm::Direct, 2);
        (never.queries_udp, never.restarts, never.failed) = (2000, 2, 1);
        let mut started = Figures::new(Arm::Injected, 2);
        (started.queries_udp, started.started_seconds) = (600, vec![0.5, 1.5]);
        let text = table(&[never, started]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[1].contains("never      -"), "{text}");
        assert!(lines[2].contains("yes   0.50   1.50   1.50"), "{text}");
    }
}
