//! The results -> the printed table, and the broken promises.

use podlocal_harness::table::align;
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

    fn row(&self) -> Vec<String> {
        let Self { attack, before, during, watched, upstream, events } = self;
        let mut verdict = [self.broken_promises(), self.missed_goals()].concat().join(", ");
        if verdict.is_empty() {
            verdict.push_str("holds");
        }
        vec![
            attack.name(),
            format!("{:.0}", before.rate),
            format!("{:.0}", during.rate),
            format!("{:.2}", during.p50),
            format!("{:.1}", before.p99),
            format!("{:.1}", during.p99),
            format!("{}/{}", during.misses_failed, during.misses),
            format!("{:.0}", before.miss_p90),
            format!("{:.0}", during.miss_p90),
            format!("{upstream:.0}"),
            format!("{:.1}", watched.peak_mib),
            watched.limit.clone(),
            watched.restarts.to_string(),
            watched.not_ready.to_string(),
            events.to_string(),
            verdict,
        ]
    }
}

/// The table, with one line per attack.
pub fn table(outcomes: &[Outcome]) -> String {
    let header = [
        "attack",
        "hits/s",
        "attacked",
        "p50 ms",
        "p99",
        "attacked",
        "misses",
        "p90 ms",
        "attacked",
        "upstream/s",
        "peak MiB",
        "limit",
        "restarts",
        "not ready",
        "Events",
        "verdict",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(outcomes.iter().map(Outcome::row));
    align(&rows)
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
