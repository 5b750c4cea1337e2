//! The law of this project: a gang with injection is never worse off than without it. Figures -> violations;
//! pure.
//!
//! At any capacity of cluster DNS, a gang with injection has no more failed lookups, sends no more queries to
//! cluster DNS, and gets its answers no later than the same gang without injection.
//!
//! | compared value, the median of the runs | violated when |
//! |---|---|
//! | failed lookups | more than direct |
//! | queries that cluster DNS receives | more than direct |
//! | p50 and p99 of the time until a pod has all its answers | more than direct, and by more than [`NOISE_SECONDS`] |

use podlocal_harness::table::percentile;

use super::arm::Arm;

/// The difference between two runs of the same arm, in seconds, on a machine that itself runs all pods.
const NOISE_SECONDS: f64 = 0.05;

/// The compared values, each with the noise in it.
const VALUES: [(&str, f64); 4] = [
    ("failed lookups", 0.0),
    ("queries to cluster DNS", 0.0),
    ("seconds until half of the pods have their answers", NOISE_SECONDS),
    ("seconds until 99 % of the pods have their answers", NOISE_SECONDS),
];

/// The cost of a run of an arm: one number for each of [`VALUES`], and infinite times when pods never had their
/// answers.
pub type Cost = [f64; 4];

/// The cost from counts and the ascending times of `pods` pods; pods that never had their answers have no time.
pub(super) fn cost(failed: usize, queries: u64, ascending: &[f64], pods: usize) -> Cost {
    let at = |share| if ascending.len() < pods { f64::INFINITY } else { percentile(ascending, share) };
    [failed as f64, queries as f64, at(0.5), at(0.99)]
}

/// The cost without its times, for a cluster DNS that answers immediately: then the times depend only on the
/// machine.
pub fn without_times([failed, queries, ..]: Cost) -> Cost {
    [failed, queries, 0.0, 0.0]
}

/// The values of each injected arm that are worse than those of [`Arm::Direct`], if that was run; compares
/// the medians of all runs.
pub fn breaches(runs: &[(Arm, Cost)]) -> Vec<String> {
    let median = |arm| {
        let costs: Vec<_> = runs.iter().filter(|(of, _)| *of == arm).map(|(_, cost)| *cost).collect();
        median(&costs)
    };
    let Some(direct) = median(Arm::Direct) else { return Vec::new() };
    let injected = Arm::ALL.into_iter().filter(|arm| arm.is_injected());
    let of_arm = |arm: Arm| {
        let breaches = median(arm).map(|cost| worse(&cost, &direct)).unwrap_or_default();
        breaches.into_iter().map(move |breach| format!("{}: {breach}", arm.name()))
    };
    injected.flat_map(of_arm).collect()
}

/// The median of each value; for an even number of runs the larger of the two in the middle.
fn median(runs: &[Cost]) -> Option<Cost> {
    let mut median = *runs.first()?;
    for (index, value) in median.iter_mut().enumerate() {
        let mut values: Vec<f64> = runs.iter().map(|run| run[index]).collect();
        values.sort_by(f64::total_cmp);
        *value = values[values.len() / 2];
    }
    Some(median)
}

/// The values that are worse than those of `direct`.
fn worse(cost: &Cost, direct: &Cost) -> Vec<String> {
    let number = |value: &f64| format!("{value:.2}").trim_end_matches(".00").to_owned();
    let rows = VALUES.iter().zip(direct.iter().zip(cost));
    let worse = rows.filter(|((_, noise), (without, with))| **with > **without + noise);
    let text = worse.map(|((what, _), (without, with))| {
        format!("{what}: {} without injection, {} with it", number(without), number(with))
    });
    text.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: Cost = [0.0, 1600.0, 17.3, 17.8];

    fn broken_by(change: Cost) -> Vec<String> {
        let mut cost = DIRECT;
        cost.iter_mut().zip(change).for_each(|(value, more)| *value += more);
        worse(&cost, &DIRECT)
    }

    #[test]
    fn whatever_is_worse_than_direct_is_named() {
        assert!(broken_by([0.0; 4]).is_empty(), "equal values are allowed");
        assert_eq!(broken_by([1.0, 0.0, 0.0, 0.0]), ["failed lookups: 0 without injection, 1 with it"]);
        assert_eq!(broken_by([0.0, 1.0, 0.0, 0.0]).len(), 1);
        assert!(broken_by([0.0, 0.0, 0.0, 0.04]).is_empty(), "a few milliseconds are noise");
        assert_eq!(broken_by([0.0, 0.0, f64::INFINITY, f64::INFINITY]).len(), 2);
    }

    #[test]
    fn one_run_of_three_decides_nothing() {
        let bad = [9.0, 9999.0, 99.0, 99.0];
        assert_eq!(median(&[bad, DIRECT, DIRECT]), Some(DIRECT));
        assert_eq!(median(&[bad, DIRECT, bad]), Some(bad));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn pods_that_were_never_served_count_as_infinitely_late() {
        let [.., p50, p99] = cost(3, 10, &[0.1, 0.2], 3);
        assert!(p50.is_infinite() && p99.is_infinite());
        let served = [0.0, 10.0, 0.2, 0.3_f64].map(f64::to_bits);
        assert_eq!(cost(0, 10, &[0.1, 0.2, 0.3], 3).map(f64::to_bits), served);
    }
}
