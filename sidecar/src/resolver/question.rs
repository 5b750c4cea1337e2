//! One question: the cached answer, else one exchange with the upstream, whose answer is cached before its
//! flight ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::search::Verdict;
use podlocal_dns::wire::{Rcode, TYPE_A};

use super::ancestors::missing_ancestor;
use super::answers::is_decided_by_address_answer;
use super::outcome::{Answer, Denial, Miss, NoAnswer};
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::lifetime::Lifetime;
use crate::flight::{Flights, NoOutcome, Role};
use crate::limits;
use crate::metrics::{Limit, Outcome};
use crate::reply;
use crate::upstream::source::{self, with_source};
use crate::upstream::{Failed, Upstream};

/// Whether a cached answer may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes, and a cached failure, too.
    UseCache,
    /// No: the upstream is queried.
    AskUpstream,
}

impl<U: Upstream> Resolver<U> {
    /// The answer for a name as it stands, without the search list; concurrent callers share one exchange.
    pub(super) async fn ask_coalesced(
        self: &Arc<Self>,
        key: &Arc<Key>,
        mode: Mode,
    ) -> Result<(Entry, Role), NoAnswer> {
        let exchange = || {
            let (resolver, key, address) =
                (Arc::clone(self), Arc::clone(key), self.wait_for_address_answer(key));
            async move {
                if let Some(address) = address {
                    address.await;
                }
                resolver.exchange(key, mode).await
            }
        };
        self.share(&self.route(key).questions, key, mode, exchange).await
    }

    /// Joins the flight for a question, or starts it with that exchange; unless the question failed a moment ago.
    pub(super) async fn share<F>(
        &self,
        flights: &Arc<Flights<Key, Answer>>,
        key: &Arc<Key>,
        mode: Mode,
        exchange: impl FnOnce() -> F,
    ) -> Result<(Entry, Role), NoAnswer>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        if mode == Mode::UseCache
            && let Some(failure) = self.recent_failure(key, now())
        {
            return Err(failure);
        }
        match flights.join(key, || with_source(source::current(), exchange())).await {
            Ok((answer, role)) => Ok((answer?, role)),
            Err(no_outcome) => Err(self.count_limit(no_outcome)),
        }
    }

    /// The same for a question that arises from another one: boxed, because a future cannot contain itself.
    pub(super) fn ask_nested(self: &Arc<Self>, key: Key) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (resolver, key) = (Arc::clone(self), Arc::new(key));
        Box::pin(async move { resolver.ask_coalesced(&key, Mode::UseCache).await.map(|(entry, _)| entry) })
    }

    pub(super) fn count_limit(&self, no_outcome: NoOutcome) -> NoAnswer {
        match no_outcome {
            NoOutcome::TooManyFlights => self.metrics.limits.inc(Limit::InFlight),
            NoOutcome::TooManyWaiters => self.metrics.limits.inc(Limit::WaitersPerQuery),
            NoOutcome::Lost => return NoAnswer::Refused(Rcode::SERVFAIL),
        }
        NoAnswer::Overload
    }

    /// The cached failure of a question.
    pub(super) fn recent_failure(&self, key: &Key, now: Instant) -> Option<NoAnswer> {
        if !self.failures.has_recent(now) {
            return None;
        }
        let last_response = self.upstream(key).condition().last_response;
        let recent = |key: &Key| self.failures.recent(key, now, last_response);
        let failure = recent(key).or_else(|| recent(&key.as_is()))?;
        Some(NoAnswer::Refused(failure.rcode()))
    }

    /// The cached NXDOMAIN for every type of the name, if it holds for that question.
    pub(super) fn shared_missing(&self, key: &Key, now: Instant) -> Option<Entry> {
        self.search.shares_missing(key).then(|| self.cache.get(&key.for_every_type(), now)).flatten()
    }

    /// NXDOMAIN by a rule, for a question that is not in the cache.
    pub(super) fn decide_by_rules(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Option<Denial> {
        let (ttl, outcome) = match verdict {
            Verdict::Impossible(_) => (reply::IMPOSSIBLE_TTL, Outcome::ImpossibleName),
            Verdict::Below(ancestors) if !self.awaited_names.contains(key.name()) => {
                let above = missing_ancestor(key, ancestors, |key| self.cache.get(key, now))?;
                (above.remaining(now).as_secs().max(1) as u32, Outcome::NxdomainCut)
            }
            _ => return None,
        };
        Some(Denial { zone_at: self.search.zone_at(key.name())?, ttl, outcome })
    }

    /// One exchange. Its answer is in the cache before this returns: the flight must not end earlier.
    async fn exchange(self: Arc<Self>, key: Arc<Key>, mode: Mode) -> Answer {
        // Between the client's look into the cache and this task another flight may have received the answer.
        if mode == Mode::UseCache
            && let Some(entry) = self.look_up_known(&key)
        {
            return Ok(entry);
        }
        if let Verdict::Below(ancestors) = self.search.verdict(&key)
            && !self.awaited_names.contains(key.name())
        {
            Box::pin(self.ask_ancestors_first(&key, ancestors)).await;
            if let Some(entry) = self.look_up_known(&key) {
                return Ok(entry);
            }
        }
        let Some(_permit) = self.types_in_flight.enter(&key) else {
            self.metrics.limits.inc(Limit::TypesPerName);
            return Err(NoAnswer::Overload);
        };
        let deadline = tokio::time::Instant::now() + limits::DEADLINE;
        let response = self.upstream(&key).ask(&key, deadline).await;
        self.end_exchange(&key, mode, response).await
    }

    /// Ends the exchange with the upstream. The answer is in the cache before this returns.
    pub(super) async fn end_exchange(
        self: &Arc<Self>,
        key: &Key,
        mode: Mode,
        response: Result<Vec<u8>, Failed>,
    ) -> Answer {
        let entry = match response {
            Ok(response) => self.read_response(&response, key, now()),
            Err(failed) => Err(failed.into()),
        };
        match entry {
            Ok(entry) => {
                let entry = self.reconcile(key, entry).await?;
                let entry = if self.awaited_names.contains(key.name()) {
                    Box::pin(self.wait_for_name(key, entry)).await?
                } else {
                    entry
                };
                self.remember(key, &entry);
                self.learn_from(key, &entry);
                Ok(entry)
            }
            Err(no_answer) => {
                // NXDOMAIN to the other address type may have arrived meanwhile, and holds for this one.
                if let Some(entry) = self.look_up_known(key).filter(|_| mode == Mode::UseCache) {
                    return Ok(entry);
                }
                self.failures.note(key, no_answer, now());
                Err(no_answer)
            }
        }
    }

    /// The answer that needs no query: a cached one, or NXDOMAIN by a rule.
    pub(super) fn look_up_known(&self, key: &Key) -> Option<Entry> {
        let now = now();
        self.cache.get(key, now).or_else(|| self.shared_missing(key, now)).or_else(|| {
            let denial = self.decide_by_rules(key, self.search.verdict(key), now)?;
            self.denied(key, denial)
        })
    }

    /// NXDOMAIN by a rule, in the form of an upstream's answer.
    pub(super) fn denied(&self, key: &Key, Denial { zone_at, ttl, .. }: Denial) -> Option<Entry> {
        let (response, lifetime) = (reply::missing(key.question(), zone_at, ttl), Lifetime::Negative(ttl));
        Entry::new(&response, key.question().len(), lifetime, &self.limits, now()).ok()
    }

    /// Queries the upstream, once.
    pub(super) async fn ask(&self, key: &Key) -> Result<Entry, NoAnswer> {
        let deadline = tokio::time::Instant::now() + limits::DEADLINE;
        let response = self.upstream(key).ask(key, deadline).await?;
        self.read_response(&response, key, now())
    }

    /// The answer in a good response, whose exchange had no task; it is in the cache before this returns.
    /// `None`: the answer to another question must be waited for, or the response has an invalid format.
    pub(super) fn end_direct_exchange(
        self: &Arc<Self>,
        key: &Key,
        miss: Miss,
        response: &[u8],
        now: Instant,
    ) -> Option<Entry> {
        let entry = self.read_response(response, key, now).ok()?;
        if is_decided_by_address_answer(key, &entry)
            && self.route(key).questions.is_in_flight(&key.with_type(TYPE_A))
        {
            return None;
        }
        self.remember_answer(key, miss.may_deny_every_type, &entry);
        if !miss.is_free_of_rules {
            self.learn_from(key, &entry);
        }
        Some(entry)
    }
}
