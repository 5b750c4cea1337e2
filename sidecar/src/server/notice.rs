//! Who takes notice of every query by name: the log, and who asked for the most frequent names. Nearly always nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::limits;
use crate::metrics::{Outcome, Transport};
use crate::query::Client;
use crate::top_names::TopNames;
use crate::wire;

/// What is done with the names of queries.
#[derive(Debug)]
pub(super) struct Notice {
    /// All that a query pays for when nobody does.
    is_wanted: AtomicBool,
    is_logged: bool,
    counted: Mutex<Option<Counted>>,
}

#[derive(Debug)]
struct Counted {
    names: TopNames,
    /// When to stop counting; `None`: never, since the names are logged anyway.
    until: Option<Instant>,
}

impl Notice {
    /// Names are logged, and then counted from the start; or neither.
    pub(super) fn new(is_logged: bool) -> Self {
        let counted = || Counted { names: TopNames::new(Instant::now()), until: None };
        Self {
            is_wanted: AtomicBool::new(is_logged),
            is_logged,
            counted: Mutex::new(is_logged.then(counted)),
        }
    }

    /// Whether anybody wants to know.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Logs and counts one query.
    #[cold]
    pub(super) fn take(&self, client: &Client<'_>, transport: Transport, outcome: Outcome) {
        if self.is_logged {
            let (kind, class) = wire::type_and_class(client.question);
            let name = wire::NameText(client.name());
            tracing::info!(%name, kind, class, transport = transport.name(), outcome = outcome.name(), "query");
        }
        // The names that other proxies probe with are all different and nobody's question.
        if outcome != Outcome::HealthCheck {
            self.count(client.name(), Instant::now());
        }
    }

    /// The names so far. They are counted from the first time that somebody asks, and until
    /// [`limits::NAMES_COUNTED_FOR`] after the last.
    pub(super) fn top_names(&self) -> TopNames {
        let now = Instant::now();
        let mut counted = self.lock();
        let counted = counted.get_or_insert_with(|| Counted { names: TopNames::new(now), until: None });
        if !self.is_logged {
            counted.until = Some(now + limits::NAMES_COUNTED_FOR);
            self.is_wanted.store(true, Ordering::Relaxed);
        }
        counted.names.clone()
    }

    fn count(&self, name: &[u8], now: Instant) {
        let mut counted = self.lock();
        match &mut *counted {
            Some(Counted { until: Some(until), .. }) if now >= *until => {
                *counted = None;
                self.is_wanted.store(self.is_logged, Ordering::Relaxed);
            }
            Some(Counted { names, .. }) => names.count(name),
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Counted>> {
        // A panic while it is held cannot leave more than one count wrong.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::query::tests::query_bytes;

    fn take(notice: &Notice, name: &str) {
        let bytes = query_bytes(name, 0, &[]);
        let query = Query::parse(&bytes).expect("a query");
        if notice.is_wanted() {
            notice.take(&query.client(), Transport::Udp, Outcome::Hit);
        }
    }

    fn counts(notice: &Notice) -> Vec<u64> {
        notice.top_names().most_frequent(10).iter().map(|name| name.count).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_counted_from_the_first_time_that_somebody_asks_until_ten_minutes_after_the_last() {
        let notice = Notice::new(false);
        take(&notice, "a.example");
        assert!(!notice.is_wanted() && counts(&notice).is_empty());
        take(&notice, "A.example");
        tokio::time::advance(limits::NAMES_COUNTED_FOR / 2).await;
        assert_eq!(counts(&notice), [1]);
        tokio::time::advance(limits::NAMES_COUNTED_FOR / 2).await;
        take(&notice, "a.example");
        assert_eq!(counts(&notice), [2]);
        tokio::time::advance(limits::NAMES_COUNTED_FOR).await;
        take(&notice, "a.example");
        assert!(!notice.is_wanted(), "the first query after that ends it");
        assert!(counts(&notice).is_empty(), "and it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_logs_every_name_has_them_counted_all_the_time() {
        let notice = Notice::new(true);
        take(&notice, "a.example");
        tokio::time::advance(limits::NAMES_COUNTED_FOR * 2).await;
        take(&notice, "a.example");
        assert_eq!(counts(&notice), [2]);
    }
}
