//! A question that is not in the cache: the answer of the upstream in time, else an expired answer.

use std::pin::pin;
use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_dns::search::Verdict;
use tokio::time::{Instant, timeout_at};

use super::outcome::{NoAnswer, Resolution};
use super::question::Mode;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::flight::Role;
use crate::limits;
use crate::metrics::BackgroundQuery;
use crate::upstream::Upstream;

impl<U: Upstream> Resolver<U> {
    /// Resolves a question that is not in the cache: within [`limits::DEADLINE`], which is the same for all
    /// waiters.
    pub async fn resolve_miss(self: &Arc<Self>, key: &Arc<Key>) -> Resolution {
        let is_down = self.is_down(key);
        if let Some(entry) = self.stale(key, is_down)
            && (is_down || entry.was_served_stale() && self.is_in_flight(key))
        {
            self.refresh(key, Mode::UseCache);
            return Resolution::Stale(entry);
        }
        self.resolve(key, Instant::now(), self.answer(key, Mode::UseCache)).await
    }

    /// The resolution of a question by an answer that is awaited since `start`, or by an expired one.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        key: &Arc<Key>,
        start: Instant,
        answer: impl Future<Output = Result<(Entry, Role), NoAnswer>>,
    ) -> Resolution {
        let no_answer = match self.answer_in_time(key, start, answer).await {
            Ok((entry, role)) => return Resolution::Fresh(entry, role),
            Err(no_answer) => no_answer,
        };
        match self.stale(key, no_answer != NoAnswer::Silence || self.is_down(key)) {
            Some(entry) => {
                entry.mark_served_stale();
                Resolution::Stale(entry)
            }
            None => Resolution::Failed(no_answer),
        }
    }

    /// The answer within the deadline; where an expired answer may be served instead, the waiting time is
    /// shorter. Not when the upstream has answered meanwhile that the name does not exist, and the sidecar
    /// only waits for the name to appear. An expired NXDOMAIN may be served once the servers are known to be
    /// down.
    async fn answer_in_time(
        self: &Arc<Self>,
        key: &Arc<Key>,
        start: Instant,
        answer: impl Future<Output = Result<(Entry, Role), NoAnswer>>,
    ) -> Result<(Entry, Role), NoAnswer> {
        let mut answer = pin!(answer);
        for most in [limits::STALE_AFTER, limits::MISSING_AFTER] {
            match timeout_at(start + most, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.stale(key, self.is_down(key)).is_some() => return Err(NoAnswer::Silence),
                Err(_) => {}
            }
        }
        timeout_at(start + limits::DEADLINE, answer).await.unwrap_or(Err(NoAnswer::Silence))
    }

    /// The answer for a client: of the upstream, or of the search list where the sidecar expands the name.
    pub(super) async fn answer(
        self: &Arc<Self>,
        key: &Arc<Key>,
        mode: Mode,
    ) -> Result<(Entry, Role), NoAnswer> {
        match self.search.verdict(key) {
            Verdict::Complete => self.complete_coalesced(key, mode).await,
            Verdict::Ask | Verdict::Impossible(_) | Verdict::Probe | Verdict::Below(_) => {
                self.ask_coalesced(key, mode).await
            }
        }
    }

    /// Whether all servers for that question are known to be silent or to fail.
    fn is_down(&self, key: &Key) -> bool {
        self.upstream(key).condition().is_down
    }

    /// An expired answer for that question that may be served. An NXDOMAIN is such an answer only while the
    /// servers are down or fail (`or_missing`): a query is better. For a name that is worth waiting for it
    /// never is: the name is about to appear.
    pub(super) fn stale(&self, key: &Key, or_missing: bool) -> Option<Entry> {
        let own = self.cache.get_expired(key);
        let entry = if self.search.shares_missing(key) {
            // The NXDOMAIN may be newer, as the answer to another type.
            let missing = self.cache.get_expired(&key.for_every_type());
            own.into_iter().chain(missing).max_by_key(Entry::stored_at)
        } else {
            own
        };
        let is_peer = self.awaited_names.contains(key.name());
        let Some(entry) = entry else {
            return if or_missing && !is_peer { self.expired_missing_ancestor(key) } else { None };
        };
        let is_good = entry.is_positive() || or_missing && !is_peer;
        (is_good && entry.is_usable_stale(now(), self.serve_stale)).then_some(entry)
    }

    /// Refreshes an answer in the background, unless a query for it is in flight.
    pub(super) fn refresh(self: &Arc<Self>, key: &Key, mode: Mode) {
        if self.is_in_flight(key)
            || self.recent_failure(key, now()).is_some()
            || !self.upstream(key).may_refresh()
        {
            return;
        }
        self.metrics.background_queries.inc(BackgroundQuery::Refresh);
        let (resolver, key) = (Arc::clone(self), Arc::new(key.clone()));
        tokio::spawn(async move {
            // The outcome is in the cache; a failure leaves the old answer there.
            let _ = resolver.answer(&key, mode).await;
        });
    }
}
