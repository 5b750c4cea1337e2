//! Prefetch: names that are resolved before the pod's other containers start, and kept fresh while it runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::search;
use podlocal_dns::wire::{self, CLASS_IN, Flags, TYPE_A};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::outcome::NoAnswer;
use super::question::Mode;
use super::{Resolver, now};
use crate::metrics::BackgroundQuery;
use crate::upstream::Upstream;

/// The shortest time between two lookups of a name, whatever its TTL.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The first and the longest pause after a failure; each is twice the one before.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

impl<U: Upstream> Resolver<U> {
    /// Resolves every name in the background, and keeps its answers fresh. The result completes when each name
    /// has been answered for the first time; NXDOMAIN is an answer.
    pub fn prefetch(self: &Arc<Self>, names: &[String]) -> impl Future<Output = ()> + use<U> {
        let (unresolved, mut resolved) = mpsc::channel::<Infallible>(1);
        for name in names {
            let (resolver, name, unresolved) = (Arc::clone(self), name.clone(), unresolved.clone());
            tokio::spawn(async move {
                let mut life = resolver.keep_trying(&name).await;
                drop(unresolved);
                loop {
                    // Shortly before the answers expire.
                    sleep((life / 10).saturating_mul(9).max(SHORTEST_PAUSE)).await;
                    life = resolver.keep_trying(&name).await;
                }
            });
        }
        async move {
            let _ = resolved.recv().await; // ends when the last name is resolved
        }
    }

    /// Repeats the lookup until there is an answer; returns the time until it expires.
    async fn keep_trying(self: &Arc<Self>, name: &str) -> Duration {
        let [mut pause, longest] = RETRY_PAUSES;
        loop {
            self.metrics.background_queries.inc(BackgroundQuery::Prefetch);
            match self.look_up(name).await {
                Ok(life) => return life,
                Err(error) => tracing::debug!(name, ?error, "a name to prefetch was not resolved"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Sends the queries of a C library, A and AAAA, up to the first name that exists; returns the time until
    /// the answers expire.
    async fn look_up(self: &Arc<Self>, name: &str) -> Result<Duration, NoAnswer> {
        let mut life = Duration::MAX;
        for name in self.search.search_names(name) {
            // The flags of a C library, so that its query finds the answer: RD and nothing else.
            let a = Key::new(&wire::question(&name, TYPE_A, CLASS_IN), Flags(Flags::RD), false);
            let aaaa = search::sibling(&a).unwrap_or_else(|| a.clone());
            let (a, aaaa) = (Arc::new(a), Arc::new(aaaa));
            let (a, aaaa) = tokio::join!(self.look_up_question(&a), self.look_up_question(&aaaa));
            let (is_there, shortest) = (a?, aaaa?);
            life = life.min(is_there.1).min(shortest.1);
            if is_there.0 || shortest.0 {
                break;
            }
        }
        Ok(life)
    }

    /// The answer for one question, refreshed if it is about to expire: whether the name exists, and the time
    /// until it expires.
    async fn look_up_question(self: &Arc<Self>, key: &Arc<Key>) -> Result<(bool, Duration), NoAnswer> {
        let is_ending = |life: Duration, whole: Duration| life <= whole / 10 + SHORTEST_PAUSE / 10;
        let (mut entry, _) = self.answer(key, Mode::UseCache).await?;
        let whole = Duration::from_secs(entry.seconds().into());
        if entry.is_positive() && is_ending(entry.remaining(now()), whole) {
            (entry, _) = self.answer(key, Mode::AskUpstream).await?;
        }
        Ok((!entry.is_nxdomain(), entry.remaining(now())))
    }
}
