//! The results -> the printed table, and the broken promises.

use podlocal_harness::table::columns;
use serde::Serialize;

use super::attack::{Attack, TargetKind};
use super::target::TargetStats;
use super::victim::VictimStats;

/// The smallest share of its hits that a victim must keep.
const LEAST_RATE: f64 = 0.9;

/// The goal for the 99th percentile of a hit, in milliseconds.
const MOST_P99: f64 = 5.0;

/// The result of an attack.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The attack.
    pub attack: Attack,
    /// The victim before it.
    pub before: VictimStats,
    /// The victim during it.
    pub during: VictimStats,
    /// The attacked pods.
    pub watched: TargetStats,
    /// Queries to the upstream per second.
    pub upstream: f64,
    /// The number of Events in `kube-system` that contain the attacker's text.
    pub events: usize,
}

impl Outcome {
    /// The broken promises that do not depend on time.
    pub fn broken_promises(&self) -> Vec<String> {
        let Self { during, watched, events, .. } = self;
        [
            (during.failed as u64, "hits failed"),
            (during.misses_failed as u64, "misses failed"),
            (watched.restarts, "restarts"),
            (watched.not_ready.into(), "samples not ready"),
            (*events as u64, "Events of the attacker"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }

    /// The missed goals that depend on time. A machine with two cores that runs everything may miss them
    /// without a defect.
    pub fn missed_goals(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let kept = self.during.rate / self.before.rate;
        if kept < LEAST_RATE {
            missed.push(format!("{:.0} % of the hits", kept * 100.0));
        }
        // A creation of a pod takes longer than this goal even without an attack.
        if self.attack.target_kind() != TargetKind::Webhook && self.during.p99 > MOST_P99 {
            missed.push(format!("p99 {:.1} ms", self.during.p99));
        }
        missed
    }

    fn verdict(&self) -> String {
        let missed = [self.broken_promises(), self.missed_goals()].concat();
        if missed.is_empty() { "holds".to_owned() } else { missed.join(", ") }
    }
}

/// The table, with one line per attack.
pub fn table(outcomes: &[Outcome]) -> String {
    columns(
        outcomes,
        &[
            ("attack", &|outcome| outcome.attack.name()),
            ("hits/s", &|outcome| format!("{:.0}", outcome.before.rate)),
            ("attacked", &|outcome| format!("{:.0}", outcome.during.rate)),
            ("p50 ms", &|outcome| format!("{:.2}", outcome.during.p50)),
            ("p99", &|outcome| format!("{:.1}", outcome.before.p99)),
            ("attacked", &|outcome| format!("{:.1}", outcome.during.p99)),
            ("misses", &|Outcome { during, .. }| format!("{}/{}", during.misses_failed, during.misses)),
            ("p90 ms", &|outcome| format!("{:.0}", outcome.before.miss_p90)),
            ("attacked", &|outcome| format!("{:.0}", outcome.during.miss_p90)),
            ("upstream/s", &|outcome| format!("{:.0}", outcome.upstream)),
            ("peak MiB", &|outcome| format!("{:.1}", outcome.watched.peak_mib)),
            ("limit", &|outcome| outcome.watched.limit.clone()),
            ("restarts", &|outcome| outcome.watched.restarts.to_string()),
            ("not ready", &|outcome| outcome.watched.not_ready.to_string()),
            ("Events", &|outcome| outcome.events.to_string()),
            ("verdict", &Outcome::verdict),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let measured = VictimStats { rate: 500.0, p50: 0.1, p99: 1.0, misses: 20, ..VictimStats::default() };
        let (before, during, watched) = (measured.clone(), measured, TargetStats::default());
        Outcome { attack: Attack::AdminIdle, before, during, watched, upstream: 0.0, events: 0 }
    }

    #[test]
    fn broken_promises_are_named() {
        let mut outcome = outcome();
        assert!(table(&[outcome.clone()]).contains("holds"));
        outcome.during.rate = 440.0;
        outcome.during.p99 = 7.0;
        assert_eq!(outcome.missed_goals(), ["88 % of the hits", "p99 7.0 ms"]);
        outcome.attack = Attack::ReviewBodies;
        assert_eq!(outcome.missed_goals(), ["88 % of the hits"]);
        assert!(outcome.broken_promises().is_empty());
        outcome.watched.restarts = 1;
        outcome.events = 2;
        assert_eq!(outcome.broken_promises(), ["1 restarts", "2 Events of the attacker"]);
        assert!(table(&[outcome]).contains("1 restarts"));
    }
}
