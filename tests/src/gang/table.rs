//! Figures -> the table for people.

use super::arm::Figures;

/// The table, one line per arm.
pub fn table(arms: &[Figures]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(arms.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // The first column is words, the others are figures.
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        text.push('\n');
    }
    text
}

const HEADER: [&str; 13] = [
    "arm",
    "pods",
    "queries at cluster DNS",
    "per pod",
    "by TCP",
    "answered",
    "failed",
    "p50 ms",
    "p99 ms",
    "max ms",
    "start p50 s",
    "p99 s",
    "max s",
];

fn row(figures: &Figures) -> [String; 13] {
    let milliseconds = |share| format!("{:.1}", percentile(&figures.lookup_milliseconds, share));
    let seconds = |share| format!("{:.2}", percentile(&figures.start_seconds, share));
    [
        figures.arm.name().to_owned(),
        figures.pods.to_string(),
        figures.queries().to_string(),
        format!("{:.1}", figures.queries() as f64 / figures.pods.max(1) as f64),
        figures.queries_tcp.to_string(),
        figures.answered.to_string(),
        figures.failed.to_string(),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0),
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
    fn columns_line_up() {
        let figures = |arm, queries_udp| Figures {
            arm,
            pods: 100,
            failed_pods: 0,
            queries_udp,
            queries_tcp: 0,
            lookup_milliseconds: vec![1.0, 12.5],
            answered: 2,
            failed: 0,
            start_seconds: vec![0.04],
            first_failure: None,
        };
        let text = table(&[figures(Arm::Direct, 2000), figures(Arm::Injected, 600)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[1].contains("20.0"), "{text}");
    }
}
