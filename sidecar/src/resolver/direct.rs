//! Questions that one answer of the upstream decides, without a task.
//!
//! | a question that is not in the cache | is asked |
//! |---|---|
//! | whose name is completed by the search list, or awaited | by a task |
//! | below a namespace or Service about which another question is asked first; AAAA that waits for A | by a task |
//! | that failed a moment ago, or has an expired answer | by a task |
//! | that is in flight, or is over a limit | by a task, which waits for the flight or gets the error |
//! | any other | without a task |
//!
//! When the one answer does not decide it after all, a task does the rest.

use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_dns::search::Verdict;
use tokio::time::Instant;

use super::Resolver;
use super::outcome::{Answer, Miss, Resolution};
use super::question::Mode;
use super::type_limit::TypePermit;
use crate::cache::entry::Entry;
use crate::flight::{Flight, Role};
use crate::limits;
use crate::upstream::direct::Continuation;
use crate::upstream::source::with_source;
use crate::upstream::{Failed, Upstream};

/// The clients that wait for the resolution of a question.
pub trait Reply: Send + 'static {
    /// Answers them now.
    fn answer(self, resolution: &Resolution, now: Instant);

    /// Answers them when the resolution is there. The future has to be spawned.
    fn wait(self, resolution: impl Future<Output = Resolution> + Send + 'static);
}

impl<U: Upstream> Resolver<U> {
    /// Begins to resolve a question that is not in the cache, for that source of queries. Nothing is answered
    /// before this returns.
    ///
    /// # Errors
    ///
    /// The clients, whose question needs a task: [`Resolver::resolve_miss`].
    pub fn begin_miss<R: Reply>(
        self: &Arc<Self>,
        key: &Arc<Key>,
        miss: Miss,
        source: Option<u16>,
        now: Instant,
        reply: R,
    ) -> Result<(), R> {
        if !self.is_decided_by_one_answer(key, miss, now) {
            return Err(reply);
        }
        let Some(permit) = self.types_in_flight.enter(key) else { return Err(reply) };
        let Some(flight) = self.route(key).questions.begin(key) else { return Err(reply) };
        let (resolver, start) = (Arc::clone(self), now);
        let miss = DirectMiss { resolver, miss, flight, permit, start, reply };
        // Another thread may have received the answer since the client's look into the cache.
        let known = if self.is_shared { self.look_up_known(key) } else { None };
        if let Some(entry) = known {
            miss.end(entry);
        } else if let Err(miss) = self.upstream(key).begin(key, source, now, miss) {
            let (resolver, key) = (Arc::clone(self), Arc::clone(key));
            miss.continue_with(async move {
                let asked = resolver.upstream(&key).ask(&key, Instant::now() + limits::DEADLINE);
                with_source(source, asked).await
            });
        }
        Ok(())
    }

    fn is_decided_by_one_answer(self: &Arc<Self>, key: &Key, miss: Miss, now: Instant) -> bool {
        if self.awaited_names.contains(key.name()) || self.recent_failure(key, now.into_std()).is_some() {
            return false;
        }
        if miss.is_free_of_rules {
            return !miss.has_expired;
        }
        let Verdict::Below(ancestors) = self.search.verdict(key) else { return false };
        !self.must_ask_ancestors_first(key, ancestors)
            && self.wait_for_address_answer(key).is_none()
            && self.stale(key, true).is_none()
    }
}

/// A question whose exchange with the upstream has no task.
struct DirectMiss<U, R> {
    resolver: Arc<Resolver<U>>,
    miss: Miss,
    flight: Flight<Key, Answer>,
    permit: TypePermit,
    start: Instant,
    reply: R,
}

impl<U: Upstream, R: Reply> DirectMiss<U, R> {
    /// Ends the flight without an exchange, and answers the clients soon.
    fn end(self, entry: Entry) {
        self.flight.end(Ok(entry.clone()));
        self.reply.wait(std::future::ready(Resolution::Fresh(entry, Role::Leader)));
    }
}

impl<U: Upstream, R: Reply> Continuation for DirectMiss<U, R> {
    fn answered(self, response: &[u8], now: Instant) {
        let ended = self.resolver.end_direct_exchange(self.flight.key(), self.miss, response, now.into_std());
        let Some(entry) = ended else {
            let response = response.to_vec();
            return self.continue_with(std::future::ready(Ok(response)));
        };
        drop(self.permit);
        self.flight.end(Ok(entry.clone()));
        self.reply.answer(&Resolution::Fresh(entry, Role::Leader), now);
    }

    fn continue_with(self, rest: impl Future<Output = Result<Vec<u8>, Failed>> + Send + 'static) {
        let Self { resolver, flight, permit, start, reply, miss: _ } = self;
        let (outcome, key) = (flight.wait_for_end(), Arc::clone(flight.key()));
        let (resolving, asked) = (Arc::clone(&resolver), Arc::clone(&key));
        tokio::spawn(async move {
            let answer = resolver.end_exchange(&key, Mode::UseCache, rest.await).await;
            drop(permit);
            flight.end(answer);
        });
        reply.wait(async move {
            let answer = async {
                match outcome.await {
                    Ok(answer) => answer.map(|entry| (entry, Role::Leader)),
                    Err(no_outcome) => Err(resolving.count_limit(no_outcome)),
                }
            };
            resolving.resolve(&asked, start, answer).await
        });
    }
}
