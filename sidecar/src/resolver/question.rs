//! One question: the cached answer, else one exchange with the upstream, whose answer is cached before its
//! flight ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::search::{self, Verdict};
use podlocal_dns::wire::{self, CLASS_IN, Malformed, Message, Rcode, TYPE_A, TYPE_AAAA};

use super::ancestors::missing_ancestor;
use super::outcome::{Answer, Known, Miss, NoAnswer};
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::lifetime::{self, Lifetime};
use crate::flight::{NoOutcome, Role};
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
        self.check_recent_failure(key, mode)?;
        let first = self.wait_for_address_answer(key);
        let lead = || {
            let (resolver, key) = (Arc::clone(self), Arc::clone(key));
            with_source(source::current(), async move {
                if let Some(address) = first {
                    address.await;
                }
                resolver.exchange(key, mode).await
            })
        };
        match self.route(key).questions.join(key, lead).await {
            Ok((answer, role)) => answer.map(|entry| (entry, role)),
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

    /// The cached failure of a question, as an error, if the mode allows it.
    pub(super) fn check_recent_failure(&self, key: &Key, mode: Mode) -> Result<(), NoAnswer> {
        let failure = if mode == Mode::UseCache { self.recent_failure(key, now()) } else { None };
        failure.map_or(Ok(()), Err)
    }

    /// Whether the question has a cached failure.
    pub(super) fn has_failed_lately(&self, key: &Key, now: Instant) -> bool {
        self.recent_failure(key, now).is_some()
    }

    fn recent_failure(&self, key: &Key, now: Instant) -> Option<NoAnswer> {
        if !self.failures.has_recent(now) {
            return None;
        }
        let last_response = self.upstream(key).condition().last_response;
        let recent = |key: &Key| self.failures.recent(key, now, last_response);
        let failure = recent(key).or_else(|| recent(&key.as_is()))?;
        Some(NoAnswer::Refused(failure.rcode()))
    }

    /// What the cache and the rules imply for a question that is not in the cache itself.
    pub(super) fn infer(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Option<Known> {
        if self.search.shares_missing(key)
            && let Some(entry) = self.cache.get(&key.for_every_type(), now)
        {
            return Some(Known::Entry(entry));
        }
        self.decide_by_rules(key, verdict, now)
    }

    /// NXDOMAIN by a rule, for a question that is not in the cache.
    pub(super) fn decide_by_rules(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Option<Known> {
        if !matches!(verdict, Verdict::Impossible | Verdict::Below(_)) {
            return None;
        }
        let zone_at = self.search.zone_at(key.name())?;
        match verdict {
            Verdict::Impossible => {
                Some(Known::Missing { zone_at, ttl: reply::IMPOSSIBLE_TTL, outcome: Outcome::ImpossibleName })
            }
            Verdict::Below(ancestors) if !self.awaited_names.contains(key.name()) => {
                let above = missing_ancestor(key, ancestors, |key| self.cache.get(key, now))?;
                let ttl = above.remaining(now).as_secs().max(1) as u32;
                Some(Known::Missing { zone_at, ttl, outcome: Outcome::NxdomainCut })
            }
            _ => None,
        }
    }

    /// One exchange. Its answer is in the cache before this returns: the flight must not end earlier.
    async fn exchange(self: Arc<Self>, key: Arc<Key>, mode: Mode) -> Answer {
        // Between the client's look into the cache and this task another flight may have received the answer.
        if mode == Mode::UseCache
            && let Some(known) = self.look_up_known(&key)
        {
            return self.known_entry(&key, known);
        }
        if let Verdict::Below(ancestors) = self.search.verdict(&key)
            && !self.awaited_names.contains(key.name())
        {
            Box::pin(self.ask_ancestors_first(&key, ancestors)).await;
            if let Some(known) = self.look_up_known(&key) {
                return self.known_entry(&key, known);
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
                if let Some(known) = self.look_up_known(key).filter(|_| mode == Mode::UseCache) {
                    return self.known_entry(key, known);
                }
                self.failures.note(key, no_answer, now());
                Err(no_answer)
            }
        }
    }

    pub(super) fn look_up_known(&self, key: &Key) -> Option<Known> {
        let now = now();
        let entry = self.cache.get(key, now).map(Known::Entry);
        entry.or_else(|| self.infer(key, self.search.verdict(key), now))
    }

    pub(super) fn known_entry(&self, key: &Key, known: Known) -> Answer {
        match known {
            Known::Entry(entry) => Ok(entry),
            Known::Missing { zone_at, ttl, .. } => {
                let response = reply::missing(key.question(), zone_at, ttl);
                let lifetime = Lifetime::Negative(ttl);
                Ok(Entry::new(&response, key.question().len(), lifetime, &self.limits, now())?)
            }
        }
    }

    /// Queries the upstream, once.
    pub(super) async fn ask(&self, key: &Key) -> Result<Entry, NoAnswer> {
        let deadline = tokio::time::Instant::now() + limits::DEADLINE;
        let response = self.upstream(key).ask(key, deadline).await?;
        self.read_response(&response, key, now())
    }

    /// The answer in a response. Any RCODE but NOERROR and NXDOMAIN says that the server cannot answer (RFC
    /// 8767 section 5). NXDOMAIN to a name with an address becomes NODATA.
    fn read_response(&self, response: &[u8], key: &Key, now: Instant) -> Answer {
        let rcode = Message::new(response).ok_or(Malformed)?.rcode();
        if !matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN) {
            return Err(NoAnswer::refused(rcode));
        }
        if rcode == Rcode::NXDOMAIN && self.has_other_address(key) {
            let mut response = response.to_vec();
            wire::put_rcode(&mut response, Rcode::NO_ERROR);
            return Ok(self.new_entry(&response, key, now)?);
        }
        Ok(self.new_entry(response, key, now)?)
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

    /// Whether the name has an address of the other type, so that it exists (RFC 4074 section 4.2: some
    /// servers still answer NXDOMAIN, and musl accepts that).
    fn has_other_address(&self, key: &Key) -> bool {
        let Some(sibling) = search::sibling(key) else { return false };
        let is_there = |key| self.cache.get(key, now()).is_some_and(|entry| entry.is_positive());
        is_there(&sibling) || is_there(&sibling.for_clients())
    }

    /// Corrects NXDOMAIN to AAAA while an A query is in flight: the answer to A decides, whichever arrives
    /// first.
    pub(super) async fn reconcile(&self, key: &Key, entry: Entry) -> Result<Entry, NoAnswer> {
        if !is_decided_by_address_answer(key, &entry) {
            return Ok(entry);
        }
        if let Some(address) = self.route(key).questions.end_of(&key.with_type(TYPE_A)) {
            address.await;
        }
        if self.has_other_address(key) {
            self.read_response(&entry.aged(now()), key, now())
        } else {
            Ok(entry)
        }
    }

    /// Makes a cache entry from a response.
    pub(super) fn new_entry(&self, response: &[u8], key: &Key, now: Instant) -> Result<Entry, Malformed> {
        let message = Message::new(response).ok_or(Malformed)?;
        let question = message.question().ok_or(Malformed)?;
        let lifetime = lifetime::lifetime(message, &self.limits);
        debug_assert_eq!(question.len(), key.question().len(), "the upstream answers the question asked");
        Entry::new(response, question.len(), lifetime, &self.limits, now)
    }

    /// The same negative answer, with a TTL of so many seconds from `begin` on.
    pub(super) fn negative(&self, key: &Key, entry: &Entry, seconds: u32, begin: Instant) -> Answer {
        let (bytes, lifetime) = (entry.aged(begin), Lifetime::Negative(seconds));
        Ok(Entry::new(&bytes, key.question().len(), lifetime, &self.limits, begin)?)
    }

    /// Caches an answer; a contradicting one is removed, even if the new answer cannot be cached.
    ///
    /// | the answer | is cached for |
    /// |---|---|
    /// | NXDOMAIN to A | every type (RFC 2308 section 5) |
    /// | NXDOMAIN to another type | that type: some servers send it for names with addresses (RFC 4074 section 4.2) |
    /// | anything else | its type; a cached NXDOMAIN for every type is removed |
    pub(super) fn remember(&self, key: &Key, entry: &Entry) {
        self.remember_answer(key, self.search.shares_missing(key), entry);
    }

    /// The same, where it is known whether NXDOMAIN for every type may be cached.
    fn remember_answer(&self, key: &Key, may_deny_every_type: bool, entry: &Entry) {
        let is_missing = entry.is_missing_name();
        if is_missing && key.type_and_class() == (TYPE_A, CLASS_IN) {
            self.cache.remove(key);
            return self.cache.insert(&key.for_every_type(), entry.clone());
        }
        if !is_missing && may_deny_every_type {
            self.cache.remove(&key.for_every_type());
        }
        self.store(key, entry);
    }

    /// Caches an answer for its own question. An address removes a cached NXDOMAIN to the other address type.
    pub(super) fn store(&self, key: &Key, entry: &Entry) {
        if entry.is_positive()
            && let Some(sibling) = search::sibling(key)
            && self.cache.get_expired(&sibling).is_some_and(|entry| entry.is_missing_name())
        {
            self.cache.remove(&sibling);
        }
        self.cache.insert(key, entry.clone());
    }
}

/// Whether that is NXDOMAIN to AAAA, about which the answer to A decides.
fn is_decided_by_address_answer(key: &Key, entry: &Entry) -> bool {
    let (rtype, _) = key.type_and_class();
    rtype == TYPE_AAAA && entry.is_missing_name()
}
