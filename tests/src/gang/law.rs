//! The law of this project: never worse than without it. Figures -> what breaks it; pure.
//!
//! At whatever capacity of cluster DNS, a gang with injection has no more failed lookups, sends no more queries to cluster DNS,
//! and is not served later than the same gang without injection.
//!
//! | what is compared, the median of the runs | broken when |
//! |---|---|
//! | failed lookups | more than direct |
//! | queries that cluster DNS receives | more than direct |
//! | p50 and p99 of the time until a pod has all its answers | more than direct, and by more than [`NOISE_SECONDS`] |

use std::fmt;

use podlocal_harness::table::percentile;

use super::arm::Arm;

/// Two runs of the same arm differ by so much on a machine that runs all pods itself.
const NOISE_SECONDS: f64 = 0.05;

/// What a run of an arm cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Lookups that gave something else than expected.
    pub failed: f64,
    /// Queries that cluster DNS received.
    pub queries: f64,
    /// The median of the seconds until a pod had all its answers; infinite when pods never had them.
    pub p50: f64,
    /// The 99th percentile of the same.
    pub p99: f64,
}

/// One thing that is worse than without us.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// What is worse.
    pub what: &'static str,
    /// How much without us, and how much with us.
    pub values: [f64; 2],
}

impl Cost {
    /// Of counts and the times of `pods` pods, ascending; those of pods that were never served are missing.
    pub fn new(failed: usize, queries: u64, ascending: &[f64], pods: usize) -> Self {
        let at = |share| if ascending.len() < pods { f64::INFINITY } else { percentile(ascending, share) };
        Self { failed: failed as f64, queries: queries as f64, p50: at(0.5), p99: at(0.99) }
    }

    /// The same without its times: those of a cluster DNS that answers at once are the machine's.
    #[must_use]
    pub fn without_times(self) -> Self {
        Self { p50: 0.0, p99: 0.0, ..self }
    }

    /// The median of each value; of an even number of runs the larger one in the middle.
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

    /// What is worse with us than `direct`.
    pub fn breaches(&self, direct: &Self) -> Vec<Breach> {
        let rows = [
            ("failed lookups", direct.failed, self.failed, 0.0),
            ("queries at cluster DNS", direct.queries, self.queries, 0.0),
            ("seconds until half of the pods are served", direct.p50, self.p50, NOISE_SECONDS),
            ("seconds until 99 % of the pods are served", direct.p99, self.p99, NOISE_SECONDS),
        ];
        let worse = rows.into_iter().filter(|(_, without, with, noise)| *with > without + noise);
        worse.map(|(what, without, with, _)| Breach { what, values: [without, with] }).collect()
    }
}

/// What is worse in each injected arm than in [`Arm::Direct`], where that was run, by the medians of all runs of each.
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
        assert!(broken_by(|_| {}).is_empty(), "as good is good enough");
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
