//! The present values of the counters, for `stats`.

use super::{AttemptResult, BackgroundQuery, Limit, Metrics, Outcome, Transport};

/// The values of the counters, each with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the metrics of these names say what each is")]
pub struct Sums {
    pub queries: Vec<(&'static str, u64)>,
    pub outcomes: Vec<(&'static str, u64)>,
    pub background_queries: Vec<(&'static str, u64)>,
    pub limits: Vec<(&'static str, u64)>,
    /// The sums over both transports.
    pub attempts: Vec<(&'static str, u64)>,
    pub retransmissions: u64,
    pub budget_exhausted: u64,
    pub panics: u64,
}

impl Metrics {
    /// Reads the counters.
    pub fn sums(&self) -> Sums {
        let of_attempts = |result: &AttemptResult| {
            let sum = self.attempts.iter().filter_map(|counters| counters.get(*result as usize));
            (result.name(), sum.map(|count| count.get()).sum())
        };
        Sums {
            queries: Transport::ALL
                .iter()
                .map(|one| (one.name(), self.queries[*one as usize].get()))
                .collect(),
            outcomes: Outcome::ALL
                .iter()
                .map(|one| (one.name(), self.outcomes[*one as usize].get()))
                .collect(),
            background_queries: BackgroundQuery::ALL
                .iter()
                .map(|one| (one.name(), self.background_queries[*one as usize].get()))
                .collect(),
            limits: Limit::ALL.iter().map(|one| (one.name(), self.limits[*one as usize].get())).collect(),
            attempts: AttemptResult::ALL.iter().map(of_attempts).collect(),
            retransmissions: self.retransmissions.get(),
            budget_exhausted: self.budget_exhausted.get(),
            panics: self.panics.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sums_add_the_attempts_of_both_transports() {
        let (metrics, _) = Metrics::new();
        metrics.outcome(Outcome::Stale);
        for transport in Transport::ALL {
            metrics.attempt(transport, AttemptResult::Timeout, Duration::ZERO);
        }
        let sums = metrics.sums();
        assert!(sums.outcomes.contains(&("stale", 1)) && sums.outcomes.contains(&("hit", 0)));
        assert!(sums.attempts.contains(&("timeout", 2)), "{sums:?}");
    }
}
