//! The main path: the cache, else join a flight, else ask upstream and remember.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hickory_proto::op::Message as Decoded;

use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::lifetime::{self, Lifetime, Limits};
use crate::flight::{Flights, NoOutcome, Role};
use crate::limits;
use crate::metrics::{Gauges, Outcome};
use crate::query::Query;
use crate::reply;
use crate::upstream::{Failed, Upstream};
use crate::wire::{Malformed, Message, Rcode};

/// Answers queries, from memory or from upstream.
#[derive(Debug)]
pub struct Resolver<U> {
    cache: Cache,
    flights: Arc<Flights<Key, Result<Arc<Entry>, NoAnswer>>>,
    waiting: AtomicUsize,
    upstream: U,
    limits: Limits,
}

/// Why an exchange brought no answer that could be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody answered.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// Somebody answered nonsense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl<U: Upstream> Resolver<U> {
    /// A resolver with an empty cache of that many bytes.
    pub fn new(cache_size: u64, limits: Limits, upstream: U) -> Arc<Self> {
        Arc::new(Self {
            cache: Cache::new(cache_size),
            flights: Flights::new(limits::FLIGHTS, limits::WAITERS_PER_FLIGHT),
            waiting: AtomicUsize::new(0),
            upstream,
            limits,
        })
    }

    /// Writes the answer if it is in the cache: no await, no allocation beyond `out`.
    pub fn hit(&self, query: &Query, now: Instant, limit: usize, out: &mut Vec<u8>) -> bool {
        let Some(entry) = self.cache.get(&query.key, now) else { return false };
        entry.write(query, now, limit, out);
        true
    }

    /// Writes the answer when it has come, or SERVFAIL: every client gets one, within the deadline.
    pub async fn miss(self: &Arc<Self>, query: &Query, limit: usize, out: &mut Vec<u8>) -> Outcome {
        let Some(_waiter) = Waiter::enter(&self.waiting) else {
            reply::write_error(query, Rcode::SERVFAIL, out);
            return Outcome::Overload;
        };
        let lead = || {
            let (resolver, key) = (Arc::clone(self), query.key.clone());
            async move { resolver.exchange(key).await }
        };
        let (rcode, outcome) = match self.flights.join(query.key.clone(), lead).await {
            Ok((Ok(entry), role)) => {
                entry.write(query, now(), limit, out);
                return match role {
                    Role::Led => Outcome::Miss,
                    Role::Joined => Outcome::Joined,
                };
            }
            Ok((Err(_), _)) | Err(NoOutcome::Lost) => (Rcode::SERVFAIL, Outcome::Failed),
            Err(NoOutcome::TooManyFlights | NoOutcome::TooManyWaiters) => {
                (Rcode::SERVFAIL, Outcome::Overload)
            }
        };
        reply::write_error(query, rcode, out);
        outcome
    }

    /// One exchange. What may be kept is in the cache before this returns: the flight must not be over earlier.
    async fn exchange(self: Arc<Self>, key: Key) -> Result<Arc<Entry>, NoAnswer> {
        // Between the client's look into the cache and this task another flight may have brought the answer.
        if let Some(entry) = self.cache.get(&key, now()) {
            return Ok(entry);
        }
        let deadline = tokio::time::Instant::now() + limits::DEADLINE;
        let response = self.upstream.ask(&key, deadline).await?;
        let entry = Arc::new(self.entry(&response, &key)?);
        self.cache.insert(&key, Arc::clone(&entry));
        Ok(entry)
    }

    /// Decodes the response once. One that keeps to the wire format but holds data that the typed decoder
    /// refuses is handed on, since the client may know better, and not kept.
    fn entry(&self, response: &[u8], key: &Key) -> Result<Entry, Malformed> {
        let question = Message::new(response).and_then(Message::question).ok_or(Malformed)?;
        let lifetime = match Decoded::from_vec(response) {
            Ok(decoded) => lifetime::lifetime(&decoded, &self.limits),
            Err(_) => Lifetime::Uncached,
        };
        debug_assert_eq!(question.len(), key.question().len(), "the upstream answers the question asked");
        Entry::new(response, question.len(), lifetime, &self.limits, now())
    }
}

impl<U: std::fmt::Debug + Send + Sync + 'static> Gauges for Resolver<U> {
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        vec![
            ("cache_entries", "Answers in the cache, fresh or not", self.cache.entries() as u64),
            ("cache_bytes", "Memory that the answers take", self.cache.weight()),
            ("flights", "Questions under way to the upstream", self.flights.count() as u64),
            ("waiting", "Clients that wait for an answer", self.waiting.load(Ordering::Relaxed) as u64),
        ]
    }
}

/// A client that waits, counted against [`limits::WAITERS`] until it is dropped.
#[derive(Debug)]
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let waiter = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < limits::WAITERS).then_some(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time, by tokio's clock, which tests can hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
