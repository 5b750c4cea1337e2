//! Figures -> the table for people.

use super::figures::Figures;

/// The table, one line per arm.
pub fn table(arms: &[Figures]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(arms.iter().map(row));
    align(&rows)
}

/// Rows of one length, with each column as wide as its widest cell. The first column is words, the others are figures.
pub fn align<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let cells = || rows.iter().map(AsRef::as_ref);
    let width =
        |column: usize| cells().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..).map_while(width).collect();
    let mut text = String::new();
    for row in cells() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        text.push('\n');
    }
    text
}

const HEADER: [&str; 15] = [
    "arm",
    "pods",
    "queries",
    "by TCP",
    "dropped",
    "lost",
    "restarts",
    "failed look-ups",
    "look-up p50 ms",
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

/// The smallest value that at least `share` of the ascending values do not exceed (nearest rank); 0 of none.
pub fn percentile(ascending: &[f64], share: f64) -> f64 {
    // A rank is a small whole number; the cast rounds nothing that `ceil` has not.
    #[expect(clippy::cast_sign_loss, reason = "shares and lengths are not negative")]
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gang::arm::Arm;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            [0.5, 0.99, 1.0].map(|share| percentile(&values, share).to_bits()),
            [100.0, 198.0, 200.0].map(f64::to_bits)
        );
        assert_eq!(percentile(&[], 0.5).to_bits(), 0.0_f64.to_bits());
    }

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
