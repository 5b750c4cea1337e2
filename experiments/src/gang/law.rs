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

use std::fmt;

use podlocal_harness::table::percentile;

use super::arm::Arm;

/// The difference between two runs of the same arm, in seconds, on a machine that itself runs all pods.
const NOISE_SECONDS: f64 = 0.05;

/// The cost of a run of an arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Lookups with an unexpected result.
    pub failed: f64,
    /// Queries that cluster DNS received.
    pub queries: f64,
    /// The median of the time until a pod had all its answers, in seconds; infinite when pods never had them.
    pub p50: f64,
    /// The 99th percentile of the same.
    pub p99: f64,
}

/// One value that is worse with injection.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// The name of the value.
    pub what: &'static str,
    /// The value without and with injection.
    pub values: [f64; 2],
}

impl Cost {
    /// The cost from counts and the ascending times of `pods` pods; pods that never had their answers have no
    /// time.
    pub fn new(failed: usize, queries: u64, ascending: &[f64], pods: usize) -> Self {
        let at = |share| if ascending.len() < pods { f64::INFINITY } else { percentile(ascending, share) };
        Self { failed: failed as f64, queries: queries as f64, p50: at(0.5), p99: at(0.99) }
    }

    /// The cost without its times, for a cluster DNS that answers immediately: then the times depend only on
    /// the machine.
    #[must_use]
    pub fn without_times(self) -> Self {
        Self { p50: 0.0, p99: 0.0, ..self }
    }

    /// The median of each value; for an even number of runs the larger of the two in the middle.
    pub fn median(runs: &[Self]) -> Option<Self> {
        let of = |value: fn(&Self) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            failed: of(|run| run.failed)?,
            queries: of(|run| run.queries)?,
            p50: of(|run| run.p50)?,
            p99: of(|run| run.p99)?,
        })
    }

    /// The values that are worse than those of `direct`.
    pub fn breaches(&self, direct: &Self) -> Vec<Breach> {
        let rows = [
            ("failed lookups", direct.failed, self.failed, 0.0),
            ("queries to cluster DNS", direct.queries, self.queries, 0.0),
            ("seconds until half of the pods have their answers", direct.p50, self.p50, NOISE_SECONDS),
            ("seconds until 99 % of the pods have their answers", direct.p99, self.p99, NOISE_SECONDS),
        ];
        let worse = rows.into_iter().filter(|(_, without, with, noise)| *with > without + noise);
        worse.map(|(what, without, with, _)| Breach { what, values: [without, with] }).collect()
    }
}

/// The values of each injected arm that are worse than those of [`Arm::Direct`], if that was run; compares
/// the medians of all runs.
pub fn breaches(runs: &[(Arm, Cost)]) -> Vec<String> {
    let median = |arm| {
        let costs: Vec<_> = runs.iter().filter(|(of, _)| *of == arm).map(|(_, cost)| *cost).collect();
        Cost::median(&costs)
    };
    let Some(direct) = median(Arm::Direct) else { return Vec::new() };
    let injected = Arm::ALL.into_iter().filter(|arm| arm.is_injected());
    let of_arm = |arm: Arm| {
        let breaches = median(arm).map(|cost| cost.breaches(&direct)).unwrap_or_default();
        breaches.into_iter().map(move |breach| format!("{}: {breach}", arm.name()))
    };
    injected.flat_map(of_arm).collect()
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, values: [without, with] } = self;
        let number = |value: f64| format!("{value:.2}").trim_end_matches(".00").to_owned();
        write!(formatter, "{what}: {} without injection, {} with it", number(*without), number(*with))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: Cost = Cost { failed: 0.0, queries: 1600.0, p50: 17.3, p99: 17.8 };

    fn broken_by(change: impl FnOnce(&mut Cost)) -> Vec<String> {
        let mut cost = DIRECT;
        change(&mut cost);
        cost.breaches(&DIRECT).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn whatever_is_worse_than_direct_is_named() {
        assert!(broken_by(|_| {}).is_empty(), "equal values are allowed");
        assert_eq!(broken_by(|cost| cost.failed = 1.0), ["failed lookups: 0 without injection, 1 with it"]);
        assert_eq!(broken_by(|cost| cost.queries += 1.0).len(), 1);
        assert!(broken_by(|cost| cost.p99 += 0.04).is_empty(), "a few milliseconds are noise");
        assert_eq!(broken_by(|cost| (cost.p50, cost.p99) = (f64::INFINITY, f64::INFINITY)).len(), 2);
    }

    #[test]
    fn one_run_of_three_decides_nothing() {
        let bad = Cost { failed: 9.0, queries: 9999.0, p50: 99.0, p99: 99.0 };
        assert_eq!(Cost::median(&[bad, DIRECT, DIRECT]), Some(DIRECT));
        assert_eq!(Cost::median(&[bad, DIRECT, bad]), Some(bad));
        assert_eq!(Cost::median(&[]), None);
    }

    #[test]
    fn pods_that_were_never_served_count_as_infinitely_late() {
        let cost = Cost::new(3, 10, &[0.1, 0.2], 3);
        assert_eq!((cost.p50, cost.p99), (f64::INFINITY, f64::INFINITY));
        assert_eq!(Cost::new(0, 10, &[0.1, 0.2, 0.3], 3).p50.to_bits(), 0.2_f64.to_bits());
    }
}
