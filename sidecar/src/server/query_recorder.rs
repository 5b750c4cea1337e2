//! Records the names of queries: for the query log, and for the most frequent names of `stats --names`. Both
//! are usually off.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use podlocal_dns::wire;
use tokio::time::Instant;

use crate::limits;
use crate::metrics::{Outcome, Transport};
use crate::query::Client;
use crate::supervise::lock;
use crate::top_names::TopNames;

/// The query log and the counts of names.
#[derive(Debug)]
pub(super) struct QueryRecorder {
    /// The only thing that a query reads while both are off.
    is_enabled: AtomicBool,
    logs_queries: bool,
    /// The counts, and when counting stops; it never stops while the names are logged anyway.
    counted: Mutex<(TopNames, Instant)>,
}

impl QueryRecorder {
    /// With the query log, names are also counted from the start.
    pub(super) fn new(logs_queries: bool) -> Self {
        let now = Instant::now();
        let (is_enabled, counted) = (AtomicBool::new(logs_queries), Mutex::new((TopNames::new(now), now)));
        Self { is_enabled, logs_queries, counted }
    }

    /// Whether queries are logged or counted.
    #[inline]
    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Logs and counts one query, as far as enabled.
    #[cold]
    pub(super) fn record(&self, client: &Client<'_>, transport: Transport, outcome: Outcome) {
        if self.logs_queries {
            let (rtype, class) = wire::type_and_class(client.question);
            let name = wire::NameText(client.name());
            tracing::info!(%name, rtype, class, transport = transport.name(), outcome = outcome.label(), "query");
        }
        // Each health check of another proxy has a different name, which no program looks up.
        if outcome != Outcome::HealthCheck {
            self.count(client.name(), Instant::now());
        }
    }

    /// The names so far. Counting starts with the first call, and stops [`limits::NAMES_COUNTED_FOR`] after
    /// the last one.
    pub(super) fn top_names(&self) -> TopNames {
        let now = Instant::now();
        let mut counted = lock(&self.counted);
        if !self.is_enabled.swap(true, Ordering::Relaxed) {
            counted.0 = TopNames::new(now);
        }
        counted.1 = now + limits::NAMES_COUNTED_FOR;
        counted.0.clone()
    }

    fn count(&self, name: &[u8], now: Instant) {
        let (names, until) = &mut *lock(&self.counted);
        if self.logs_queries || now < *until {
            names.count(name);
        } else {
            self.is_enabled.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::query::tests::query_bytes;

    fn record(recorder: &QueryRecorder, name: &str) {
        let bytes = query_bytes(name, 0, &[]);
        let query = Query::parse(&bytes).expect("a query");
        if recorder.is_enabled() {
            recorder.record(&query.client(), Transport::Udp, Outcome::Hit);
        }
    }

    fn counts(recorder: &QueryRecorder) -> Vec<u64> {
        recorder.top_names().most_frequent(10).iter().map(|name| name.count).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_counted_until_ten_minutes_after_the_last_request() {
        let recorder = QueryRecorder::new(false);
        record(&recorder, "a.example");
        assert!(!recorder.is_enabled() && counts(&recorder).is_empty());
        record(&recorder, "A.example");
        tokio::time::advance(limits::NAMES_COUNTED_FOR / 2).await;
        assert_eq!(counts(&recorder), [1]);
        tokio::time::advance(limits::NAMES_COUNTED_FOR / 2).await;
        record(&recorder, "a.example");
        assert_eq!(counts(&recorder), [2]);
        tokio::time::advance(limits::NAMES_COUNTED_FOR).await;
        record(&recorder, "a.example");
        assert!(!recorder.is_enabled(), "the first query after that stops counting");
        assert!(counts(&recorder).is_empty(), "and the next request starts it again");
    }

    #[tokio::test(start_paused = true)]
    async fn with_the_query_log_names_are_always_counted() {
        let recorder = QueryRecorder::new(true);
        record(&recorder, "a.example");
        tokio::time::advance(limits::NAMES_COUNTED_FOR * 2).await;
        record(&recorder, "a.example");
        assert_eq!(counts(&recorder), [2]);
    }
}
