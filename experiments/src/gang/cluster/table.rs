//! Figures -> the table.

use podlocal_harness::table::{align, percentile};

use super::figures::Figures;

/// The table, with one line per arm and limit.
pub fn table(arms: &[Figures]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(arms.iter().map(row));
    align(&rows)
}

const HEADER: [&str; 12] = [
    "arm",
    "CoreDNS CPU",
    "pods",
    "queries",
    "CoreDNS restarts",
    "failed lookups",
    "lookup p50 s",
    "p99 s",
    "max s",
    "pod p50 s",
    "p99 s",
    "max s",
];

fn row(figures: &Figures) -> [String; 12] {
    let seconds = |ascending: &[f64], share| match ascending {
        [] => "-".to_owned(),
        _ => format!("{:.2}", percentile(ascending, share)),
    };
    // A restart resets the counter, and the number of other queries is an estimate.
    let about = match figures.coredns_restarts {
        0 if figures.is_disturbed() => "~",
        0 => "",
        _ => ">=",
    };
    [
        figures.arm.name().to_owned(),
        figures.coredns_cpu.clone().unwrap_or_else(|| "no limit".to_owned()),
        figures.pods.to_string(),
        format!("{about}{}", figures.queries),
        figures.coredns_restarts.to_string(),
        format!("{} of {}", figures.failed, figures.lookups),
        seconds(&figures.lookup_seconds, 0.5),
        seconds(&figures.lookup_seconds, 0.99),
        seconds(&figures.lookup_seconds, 1.0),
        seconds(&figures.pod_seconds, 0.5),
        seconds(&figures.pod_seconds, 0.99),
        seconds(&figures.pod_seconds, 1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::arm::Arm;
    use super::*;

    #[test]
    fn counts_that_are_not_exact_are_marked() {
        let mut whole = Figures::of(Arm::Direct, None, 0.0, 1, &[], &[]);
        whole.queries = 1600;
        let mut restarted = Figures::of(Arm::Injected, Some("10m"), 0.0, 1, &[], &[]);
        (restarted.queries, restarted.coredns_restarts) = (7, 1);
        let mut disturbed = Figures::of(Arm::Shared, None, 0.0, 1, &[], &[]);
        (disturbed.queries, disturbed.queries_of_others_per_second) = (29, 23.0);
        let text = table(&[whole, restarted, disturbed]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("no limit") && lines[1].contains(" 1600 "), "{text}");
        assert!(lines[2].contains(" >=7 "), "{text}");
        assert!(lines[3].contains(" ~29 "), "{text}");
    }
}
