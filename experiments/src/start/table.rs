//! The rounds -> the printed table: the median of each arm, and its ratio to the empty second container.

use podlocal_harness::table::{align, percentile};

use super::arm::Arm;
use super::round::Round;

/// The table, with one line per arm that was run.
pub fn table(rounds: &[Round]) -> String {
    let has_processes = rounds.iter().all(|round| round.process_ms.is_some());
    let mut header = vec![
        "arm",
        "rounds",
        "pods",
        "node ms per pod",
        "least",
        "ratio",
        "CPU ms per pod",
        "least",
        "ratio",
    ];
    if has_processes {
        header.extend(["of processes", "least", "ratio"]);
    }
    let mut rows: Vec<Vec<String>> = vec![header.into_iter().map(str::to_owned).collect()];
    for arm in Arm::ALL {
        let of_arm: Vec<&Round> = rounds.iter().filter(|round| round.arm == arm).collect();
        let Some(first) = of_arm.first() else { continue };
        let mut row = vec![arm.name().to_owned(), of_arm.len().to_string(), first.pods.to_string()];
        row.extend(figures(rounds, arm, |round| round.node_ms));
        row.extend(figures(rounds, arm, |round| round.cpu_ms));
        if has_processes {
            row.extend(figures(rounds, arm, |round| round.process_ms.unwrap_or_default()));
        }
        rows.push(row);
    }
    align(&rows)
}

/// The median, the minimum (other work of the node can only add to it), and the ratio of the medians.
fn figures(rounds: &[Round], arm: Arm, value: impl Fn(&Round) -> f64) -> [String; 3] {
    let ascending = |arm: Arm| {
        let mut values: Vec<f64> = rounds.iter().filter(|round| round.arm == arm).map(&value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (values, empty) = (ascending(arm), ascending(Arm::EmptySidecar));
    let median = percentile(&values, 0.5);
    let ratio =
        if empty.is_empty() { "-".to_owned() } else { format!("{:.2}", median / percentile(&empty, 0.5)) };
    [format!("{median:.0}"), format!("{:.0}", percentile(&values, 0.0)), ratio]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(arm: Arm, node_ms: f64, process_ms: Option<f64>) -> Round {
        Round { arm, pods: 30, node_ms, cpu_ms: 2.0 * node_ms, process_ms, idle_cores: 0.1 }
    }

    #[test]
    fn an_arm_is_its_median_and_compared_with_the_empty_container() {
        let rounds = [
            round(Arm::Plain, 150.0, None),
            round(Arm::EmptySidecar, 200.0, None),
            round(Arm::Plain, 100.0, None),
            round(Arm::Plain, 900.0, None),
        ];
        let text = table(&rounds);
        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1)[2..], ["3", "30", "150", "100", "0.75", "300", "200", "0.75"], "{text}");
        assert_eq!(words(2)[3..], ["1", "30", "200", "200", "1.00", "400", "400", "1.00"], "{text}");
    }

    #[test]
    fn processes_have_columns_where_every_round_has_it() {
        let with = [round(Arm::Plain, 100.0, Some(210.0)), round(Arm::EmptySidecar, 100.0, Some(420.0))];
        assert!(table(&with).contains("of processes") && table(&with).contains("0.50"));
        let without = [round(Arm::Plain, 100.0, Some(210.0)), round(Arm::EmptySidecar, 100.0, None)];
        assert!(!table(&without).contains("processes"));
    }
}
