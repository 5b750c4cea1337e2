//! The rounds -> the printed table.

use podlocal_harness::table::{align, percentiles};

use super::arm::Arm;
use super::round::Round;

/// A value of a round, if it was measured.
type Value = fn(&Round) -> Option<f64>;

const VALUES: [(&str, Value); 3] = [
    ("node", |round| Some(round.node_ms)),
    ("CPU", |round| Some(round.cpu_ms)),
    ("CPU of processes", |round| round.process_ms),
];

/// The table, with a line for each arm and value that was measured. The minimum is shown, because other work of
/// the node can only add to it. The ratio of the medians is that to the empty second container.
pub(super) fn table(rounds: &[Round]) -> String {
    let mut lines = vec![["arm", "ms per pod", "rounds", "median", "least", "ratio"].map(str::to_owned)];
    for arm in Arm::ALL {
        for (name, value) in VALUES {
            let of = |arm| rounds.iter().filter(move |round| round.arm == arm).filter_map(value);
            let count = of(arm).count();
            if count == 0 {
                continue;
            }
            let [median, least] = percentiles(of(arm), [0.5, 0.0]);
            let [empty] = percentiles(of(Arm::EmptySidecar), [0.5]);
            let ratio = if empty > 0.0 { format!("{:.2}", median / empty) } else { "-".to_owned() };
            let (median, least) = (format!("{median:.0}"), format!("{least:.0}"));
            lines.push([arm.name().to_owned(), name.to_owned(), count.to_string(), median, least, ratio]);
        }
    }
    align(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_its_median_and_compared_with_the_empty_container() {
        let round = |arm, node_ms| Round {
            arm,
            pods: 30,
            node_ms,
            cpu_ms: 2.0 * node_ms,
            process_ms: None,
            idle_cores: 0.1,
        };
        let [plain, empty] = [Arm::Plain, Arm::EmptySidecar];
        let text =
            table(&[round(plain, 150.0), round(empty, 200.0), round(plain, 100.0), round(plain, 900.0)]);
        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1)[2..], ["node", "3", "150", "100", "0.75"], "{text}");
        assert_eq!(words(4)[3..], ["CPU", "1", "400", "400", "1.00"], "{text}");
    }
}
