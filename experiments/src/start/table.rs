//! The rounds -> the printed table: the median of each arm, and its ratio to the empty second container.

use podlocal_harness::table::{align, percentile};

use super::arm::Arm;
use super::round::Round;

/// A value of a round, if it was measured.
type Measured = fn(&Round) -> Option<f64>;

/// The table, with one line per arm that was run.
pub(super) fn table(rounds: &[Round]) -> String {
    let mut values: Vec<(&str, Measured)> = vec![
        ("node ms per pod", |round| Some(round.node_ms)),
        ("CPU ms per pod", |round| Some(round.cpu_ms)),
        ("of processes", |round| round.process_ms),
    ];
    values.retain(|(_, value)| rounds.iter().all(|round| value(round).is_some()));
    let names = values.iter().flat_map(|(name, _)| [*name, "least", "ratio"]);
    let header = ["arm", "rounds", "pods"].into_iter().chain(names).map(str::to_owned).collect();
    let row = |arm: Arm| {
        let of_arm: Vec<_> = rounds.iter().filter(|round| round.arm == arm).collect();
        let counts = [arm.name().to_owned(), of_arm.len().to_string(), of_arm.first()?.pods.to_string()];
        Some(
            counts
                .into_iter()
                .chain(values.iter().flat_map(|(_, value)| figures(rounds, arm, *value)))
                .collect(),
        )
    };
    align(&[header].into_iter().chain(Arm::ALL.into_iter().filter_map(row)).collect::<Vec<Vec<String>>>())
}

/// The median, the minimum (other work of the node can only add to it), and the ratio of the medians.
fn figures(rounds: &[Round], arm: Arm, value: Measured) -> [String; 3] {
    let ascending = |arm: Arm| {
        let mut values: Vec<f64> = rounds.iter().filter(|round| round.arm == arm).filter_map(value).collect();
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
