//! One question: what is known of it, else one exchange with the upstream, remembered before its flight is over.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::failures::Failure;
use super::families::missing_above;
use super::{Answer, Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::lifetime::{self, Lifetime};
use crate::flight::{NoOutcome, Role};
use crate::limits;
use crate::metrics::{Limit, Outcome};
use crate::reply;
use crate::search::{self, Verdict};
use crate::upstream::{Failed, Upstream};
use crate::wire::{self, CLASS_IN, Malformed, Message, Rcode, TYPE_A, TYPE_AAAA};

/// Why there is no answer that could be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody answered.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// Somebody answered nonsense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The upstream said that it cannot answer. What the client is told.
    #[error("the upstream cannot answer")]
    Refused(Rcode),
    /// It failed a moment ago. What the client is told.
    #[error("it failed a moment ago")]
    Remembered(Rcode),
    /// The client's time is over; the exchange may go on.
    #[error("the answer did not come in time")]
    Late,
    /// A limit was reached.
    #[error("too many questions are under way")]
    Overload,
    /// The exchange panicked.
    #[error("the exchange ended without an outcome")]
    Lost,
}

impl NoAnswer {
    /// What the client is told.
    pub fn rcode(self) -> Rcode {
        match self {
            Self::Refused(rcode) | Self::Remembered(rcode) => rcode,
            _ => Rcode::SERVFAIL,
        }
    }
}

/// What a client is told when the upstream answers with that RCODE, which is neither NOERROR nor NXDOMAIN, and there is no
/// expired answer: what it would see without us, with two exceptions.
///
/// | RCODE | the client gets | why |
/// |---|---|---|
/// | REFUSED | SERVFAIL | musl takes it for final, and CoreDNS says it when it is overloaded |
/// | more than four bits, such as BADVERS | SERVFAIL | it is about our own EDNS |
/// | any other | the same | |
fn for_client(rcode: Rcode) -> Rcode {
    if rcode == Rcode::REFUSED || rcode.0 > 0xf { Rcode::SERVFAIL } else { rcode }
}

/// Whether an answer in the cache will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes, and so will the memory of a failure.
    Remembered,
    /// No: the upstream is to be asked.
    Anew,
}

/// An answer that needs no question.
#[derive(Debug)]
pub enum Known {
    /// It is in the cache.
    Entry(Entry),
    /// There is no such name.
    Missing {
        /// Where in the name the cluster domain begins.
        zone_at: usize,
        /// For how many seconds that is so.
        ttl: u32,
        /// By which rule.
        outcome: Outcome,
    },
}

impl<U: Upstream> Resolver<U> {
    /// The answer to a question as it stands, without the search list.
    pub(super) async fn question(
        self: &Arc<Self>,
        key: &Arc<Key>,
        mode: Mode,
    ) -> Result<(Entry, Role), NoAnswer> {
        self.unless_failed_lately(key, mode)?;
        let first = self.address_first(key);
        let lead = || {
            let (resolver, key) = (Arc::clone(self), Arc::clone(key));
            async move {
                if let Some(address) = first {
                    address.await;
                }
                resolver.exchange(key, mode).await
            }
        };
        match self.route(key).questions.join(Arc::clone(key), lead).await {
            Ok((answer, role)) => answer.map(|entry| (entry, role)),
            Err(no_outcome) => Err(self.no_outcome(no_outcome)),
        }
    }

    /// The same for a question that arises from another one: boxed, because futures cannot contain themselves.
    pub(super) fn nested_question(
        self: &Arc<Self>,
        key: Key,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (resolver, key) = (Arc::clone(self), Arc::new(key));
        Box::pin(async move { resolver.question(&key, Mode::Remembered).await.map(|(entry, _)| entry) })
    }

    pub(super) fn no_outcome(&self, no_outcome: NoOutcome) -> NoAnswer {
        match no_outcome {
            NoOutcome::TooManyFlights => self.metrics.limit_reached(Limit::InFlight),
            NoOutcome::TooManyWaiters => self.metrics.limit_reached(Limit::WaitersPerQuery),
            NoOutcome::Lost => return NoAnswer::Lost,
        }
        NoAnswer::Overload
    }

    /// An error where the memory of a failure will do.
    pub(super) fn unless_failed_lately(&self, key: &Key, mode: Mode) -> Result<(), NoAnswer> {
        let failure = if mode == Mode::Remembered { self.recent_failure(key) } else { None };
        failure.map_or(Ok(()), Err)
    }

    /// Whether asking again is of no use for now.
    pub(super) fn has_failed_lately(&self, key: &Key) -> bool {
        self.recent_failure(key).is_some()
    }

    fn recent_failure(&self, key: &Key) -> Option<NoAnswer> {
        let now = now();
        if !self.failures.are_there(now) {
            return None;
        }
        let last_response = self.upstream(key).condition().last_response;
        let recent = |key: &Key| self.failures.recent(key, now, last_response);
        let failure = recent(key).or_else(|| recent(&key.as_is()))?;
        Some(NoAnswer::Remembered(match failure {
            Failure::Refusal(rcode) => rcode,
            Failure::Silence => Rcode::SERVFAIL,
        }))
    }

    /// What follows for a question that is not in the cache from what is.
    pub(super) fn implied(&self, key: &Key, verdict: Verdict<'_>, now: Instant) -> Option<Known> {
        if self.search.shares_missing(key)
            && let Some(entry) = self.cache.get(&key.for_every_type(), now)
        {
            return Some(Known::Entry(entry));
        }
        let zone_at = self.search.zone_at(key.name())?;
        match verdict {
            Verdict::Impossible => {
                Some(Known::Missing { zone_at, ttl: reply::IMPOSSIBLE_TTL, outcome: Outcome::ImpossibleName })
            }
            Verdict::Below(family) if !self.patience.waits_for(key.name()) => {
                let above = missing_above(key, family, |key| self.cache.get(key, now))?;
                let ttl = above.remaining(now).as_secs().max(1) as u32;
                Some(Known::Missing { zone_at, ttl, outcome: Outcome::NxdomainCut })
            }
            _ => None,
        }
    }

    /// One exchange. What may be kept is in the cache before this returns: the flight must not be over earlier.
    async fn exchange(self: Arc<Self>, key: Arc<Key>, mode: Mode) -> Answer {
        // Between the client's look into the cache and this task another flight may have brought the answer.
        if mode == Mode::Remembered
            && let Some(known) = self.known(&key)
        {
            return self.as_entry(&key, known);
        }
        if let Verdict::Below(family) = self.search.verdict(&key)
            && !self.patience.waits_for(key.name())
        {
            Box::pin(self.ask_above(&key, family)).await;
            if let Some(known) = self.known(&key) {
                return self.as_entry(&key, known);
            }
        }
        let Some(_place) = self.types.enter(&key) else {
            self.metrics.limit_reached(Limit::TypesPerName);
            return Err(NoAnswer::Overload);
        };
        match self.ask(&key).await {
            Ok(entry) => {
                let entry = self.reconciled(&key, entry).await?;
                let entry = if self.patience.waits_for(key.name()) {
                    Box::pin(self.wait_for(&key, entry)).await?
                } else {
                    entry
                };
                self.remember(&key, &entry);
                self.learn(&key, &entry);
                Ok(entry)
            }
            Err(no_answer) => {
                // The other type's NXDOMAIN may have come meanwhile, and holds for this one.
                if let Some(known) = self.known(&key).filter(|_| mode == Mode::Remembered) {
                    return self.as_entry(&key, known);
                }
                let failure = match no_answer {
                    NoAnswer::Failed(_) => Failure::Silence,
                    _ => Failure::Refusal(no_answer.rcode()),
                };
                self.failures.note(&key, failure, now());
                Err(no_answer)
            }
        }
    }

    pub(super) fn known(&self, key: &Key) -> Option<Known> {
        let now = now();
        let entry = self.cache.get(key, now).map(Known::Entry);
        entry.or_else(|| self.implied(key, self.search.verdict(key), now))
    }

    pub(super) fn as_entry(&self, key: &Key, known: Known) -> Answer {
        match known {
            Known::Entry(entry) => Ok(entry),
            Known::Missing { zone_at, ttl, .. } => {
                let response = reply::missing(key.question(), zone_at, ttl);
                let lifetime = Lifetime::Negative(ttl);
                Ok(Entry::new(&response, key.question().len(), lifetime, &self.limits, now())?)
            }
        }
    }

    /// Asks the upstream, once. Any RCODE but NOERROR and NXDOMAIN says that it cannot answer (RFC 8767 section 5).
    pub(super) async fn ask(&self, key: &Key) -> Result<Entry, NoAnswer> {
        let deadline = tokio::time::Instant::now() + limits::DEADLINE;
        let mut response = self.upstream(key).ask(key, deadline).await?;
        let rcode = Message::new(&response).ok_or(Malformed)?.rcode();
        if !matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN) {
            return Err(NoAnswer::Refused(for_client(rcode)));
        }
        if rcode == Rcode::NXDOMAIN && self.has_other_address(key) {
            wire::put_rcode(&mut response, Rcode::NO_ERROR);
        }
        Ok(self.entry(&response, key)?)
    }

    /// Whether the name has an address of the other type, so that it cannot be missing (RFC 4074 section 4.2: such
    /// servers exist, and musl believes the NXDOMAIN).
    fn has_other_address(&self, key: &Key) -> bool {
        let Some(sibling) = search::sibling(key) else { return false };
        let is_there = |key| self.cache.get(key, now()).is_some_and(|entry| entry.is_positive());
        is_there(&sibling) || is_there(&sibling.for_clients())
    }

    /// The server's NXDOMAIN to AAAA beside an A that is under way: what A says holds, whichever comes first.
    pub(super) async fn reconciled(&self, key: &Key, entry: Entry) -> Result<Entry, NoAnswer> {
        let (rtype, _) = key.type_and_class();
        if rtype != TYPE_AAAA || !entry.is_missing_name() {
            return Ok(entry);
        }
        if let Some(address) = self.route(key).questions.under_way(&key.with_type(TYPE_A)) {
            address.await;
        }
        if !self.has_other_address(key) {
            return Ok(entry);
        }
        let mut response = entry.aged(now());
        wire::put_rcode(&mut response, Rcode::NO_ERROR);
        Ok(self.entry(&response, key)?)
    }

    /// What is kept of the response, for how long.
    pub(super) fn entry(&self, response: &[u8], key: &Key) -> Result<Entry, Malformed> {
        let message = Message::new(response).ok_or(Malformed)?;
        let question = message.question().ok_or(Malformed)?;
        let lifetime = lifetime::lifetime(message, &self.limits);
        debug_assert_eq!(question.len(), key.question().len(), "the upstream answers the question asked");
        Entry::new(response, question.len(), lifetime, &self.limits, now())
    }

    /// Puts an answer where the next client finds it; what contradicts it goes, whether the answer can be kept or not.
    ///
    /// | the answer | is kept for |
    /// |---|---|
    /// | NXDOMAIN to A | every type (RFC 2308 section 5) |
    /// | NXDOMAIN to another type | that one: servers say it of names that have addresses (RFC 4074 section 4.2) |
    /// | anything else | its type; the name is not missing then |
    pub(super) fn remember(&self, key: &Key, entry: &Entry) {
        let is_missing = entry.is_missing_name();
        if is_missing && key.type_and_class() == (TYPE_A, CLASS_IN) {
            self.cache.remove(key);
            return self.cache.insert(&key.for_every_type(), entry.clone());
        }
        if !is_missing && self.search.shares_missing(key) {
            self.cache.remove(&key.for_every_type());
        }
        self.keep(key, entry);
    }

    /// Puts an answer into its place. An address takes away what was said of the other type: that the name is missing.
    pub(super) fn keep(&self, key: &Key, entry: &Entry) {
        if entry.is_positive()
            && let Some(sibling) = search::sibling(key)
            && self.cache.get_expired(&sibling).is_some_and(|entry| entry.is_missing_name())
        {
            self.cache.remove(&sibling);
        }
        self.cache.insert(key, entry.clone());
    }
}
