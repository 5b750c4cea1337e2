//! Records the names of queries: for the query log, and for the most frequent names of `stats --names`. Both
//! are usually off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use podlocal_dns::wire;
use tokio::time::Instant;

use crate::limits;
use crate::metrics::{Outcome, Transport};
use crate::query::Client;
use crate::top_names::TopNames;

/// The query log and the counts of names.
#[derive(Debug)]
pub(super) struct QueryRecorder {
    /// The only thing that a query reads while both are off.
    is_enabled: AtomicBool,
    logs_queries: bool,
    counted: Mutex<Option<NameCounts>>,
}

#[derive(Debug)]
struct NameCounts {
    names: TopNames,
    /// When to stop counting; `None`: never, because the names are logged anyway.
    until: Option<Instant>,
}

impl QueryRecorder {
    /// With the query log, names are also counted from the start.
    pub(super) fn new(logs_queries: bool) -> Self {
        let counted = || NameCounts { names: TopNames::new(Instant::now()), until: None };
        Self {
            is_enabled: AtomicBool::new(logs_queries),
            logs_queries,
            counted: Mutex::new(logs_queries.then(counted)),
        }
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
        let mut counted = self.lock();
        let counted = counted.get_or_insert_with(|| NameCounts { names: TopNames::new(now), until: None });
        if !self.logs_queries {
            counted.until = Some(now + limits::NAMES_COUNTED_FOR);
            self.is_enabled.store(true, Ordering::Relaxed);
        }
        counted.names.clone()
    }

    fn count(&self, name: &[u8], now: Instant) {
        let mut counted = self.lock();
        match &mut *counted {
            Some(NameCounts { until: Some(until), .. }) if now >= *until => {
                *counted = None;
                self.is_enabled.store(self.logs_queries, Ordering::Relaxed);
            }
            Some(NameCounts { names, .. }) => names.count(name),
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<NameCounts>> {
        // A panic under the lock leaves at most one count wrong.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
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
