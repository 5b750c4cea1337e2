//! The results -> the table for people, and which promises are broken.

use podlocal_harness::table::align;
use serde::Serialize;

use super::attack::{Aim, Attack};
use super::target::Watched;
use super::victim::Measured;

/// The least share of its hits that a victim keeps.
const LEAST_RATE: f64 = 0.9;

/// The most milliseconds that 99 of 100 hits take.
const MOST_P99: f64 = 5.0;

/// What an attack did.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The attack.
    pub attack: Attack,
    /// The victim before it.
    pub before: Measured,
    /// The victim during it.
    pub during: Measured,
    /// The attacked pods.
    pub watched: Watched,
    /// Queries to the upstream in a second.
    pub upstream: f64,
    /// Events in `kube-system` with the attacker's text.
    pub events: usize,
}

impl Outcome {
    /// Promises that no clock is needed for, and that are broken.
    pub fn broken(&self) -> Vec<String> {
        let Self { during, watched, events, .. } = self;
        [
            (during.failed as u64, "hits failed"),
            (during.misses_failed as u64, "misses failed"),
            (watched.restarts, "restarts"),
            (watched.not_ready.into(), "times not ready"),
            (*events as u64, "Events of the attacker"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }

    /// Goals in time that are missed. A machine with two cores that runs everything may miss them without a fault.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let kept = self.during.rate / self.before.rate;
        if kept < LEAST_RATE {
            missed.push(format!("{:.0} % of the hits", kept * 100.0));
        }
        // A creation of a pod takes longer without an attack.
        if self.attack.aim() != Aim::Webhook && self.during.p99 > MOST_P99 {
            missed.push(format!("p99 {:.1} ms", self.during.p99));
        }
        missed
    }

    fn row(&self) -> Vec<String> {
        let Self { attack, before, during, watched, upstream, events } = self;
        let mut verdict = [self.broken(), self.missed()].concat().join(", ");
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

/// The table, one line per attack.
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
        let measured = Measured { rate: 500.0, p50: 0.1, p99: 1.0, misses: 20, ..Measured::default() };
        let (before, during, watched) = (measured.clone(), measured, Watched::default());
        Outcome { attack: Attack::AdminIdle, before, during, watched, upstream: 0.0, events: 0 }
    }

    #[test]
    fn what_is_broken_is_named() {
        let mut outcome = outcome();
        assert!(table(&[outcome.clone()]).contains("holds"));
        outcome.during.rate = 440.0;
        outcome.during.p99 = 7.0;
        assert_eq!(outcome.missed(), ["88 % of the hits", "p99 7.0 ms"]);
        outcome.attack = Attack::ReviewBodies;
        assert_eq!(outcome.missed(), ["88 % of the hits"]);
        assert!(outcome.broken().is_empty());
        outcome.watched.restarts = 1;
        outcome.events = 2;
        assert_eq!(outcome.broken(), ["1 restarts", "2 Events of the attacker"]);
        assert!(table(&[outcome]).contains("1 restarts"));
    }
}
