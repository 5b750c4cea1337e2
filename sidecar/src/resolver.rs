//! The main path, as a client sees it: what is known, else wait for the answer, else an expired one.
//!
//! ```text
//!   hit    cache, rules                                     no await, no task
//!   miss   answer -> question (one flight per question)     asks upstream
//!                 -> completion (one flight per question)   the search list, candidate by candidate, then the question
//!          an expired answer, when the upstream is silent for 400 ms, at once when it is known to be down
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use podlocal_settings::Settings;
use tokio::time::timeout_at;

use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::lifetime::Limits;
use crate::flight::Role;
use crate::limits;
use crate::metrics::{BackgroundQuery, Gauges, Metrics, Outcome};
use crate::query::{Client, Query};
use crate::reply;
use crate::search::{Search, Verdict};
use crate::upstream::Upstream;
use crate::wire::Rcode;

use failures::Failures;
use families::Suspects;
use patience::Patience;
use question::{Known, Mode, NoAnswer};
use routes::{Route, Routes};
use types::Types;

pub mod completion;
pub mod explain;
pub mod failures;
pub mod families;
pub mod patience;
pub mod prefetch;

pub mod question;
mod routes;
pub mod types;

/// Answers queries, from memory or from upstream.
#[derive(Debug)]
pub struct Resolver<U> {
    cache: Cache,
    /// Whom names are asked of.
    routes: Routes<U>,
    failures: Failures,
    suspects: Suspects,
    types: Arc<Types>,
    search: Search,
    patience: Patience,
    limits: Limits,
    serve_stale: Duration,
    refresh_ahead: bool,
    metrics: Metrics,
}

/// What a resolver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Answers in the cache, fresh or not.
    pub entries: usize,
    /// The memory that they take.
    pub bytes: u64,
    /// Questions under way to the upstream.
    pub flights: usize,
}

/// What became of a question that was not in the cache.
#[derive(Debug)]
pub enum Resolution {
    /// An answer, and how it came.
    Fresh(Entry, Role),
    /// An expired one, because the upstream fails or is slow.
    Stale(Entry),
    /// A limit was reached.
    Overload,
    /// Nothing: no upstream gave an answer in time, or it cannot answer. What the client is told.
    Failed(Rcode),
}

impl Resolution {
    /// The memory that the answer takes, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Fresh(entry, _) | Self::Stale(entry) => entry.size(),
            Self::Overload | Self::Failed(_) => 0,
        }
    }

    /// Writes it for one client, and says how that ended: every client gets an answer, an error if need be.
    pub fn write(&self, client: Client<'_>, limit: usize, out: &mut Vec<u8>) -> Outcome {
        let (outcome, rcode) = match self {
            Self::Fresh(entry, role) => {
                entry.write(client, now(), limit, out);
                return if *role == Role::Led { Outcome::Miss } else { Outcome::Coalesced };
            }
            Self::Stale(entry) => {
                entry.write_stale(client, limit, out);
                return Outcome::Stale;
            }
            Self::Overload => (Outcome::OverLimit, Rcode::SERVFAIL),
            Self::Failed(rcode) => (Outcome::UpstreamFailed, *rcode),
        };
        reply::write_error(client, rcode, out);
        outcome
    }
}

/// What a flight brings to all who wait for it.
type Answer = Result<Entry, NoAnswer>;

impl<U: Upstream> Resolver<U> {
    /// A resolver with an empty cache, for so many threads that ask, of settings without forward zones.
    pub fn new(settings: &Settings, threads: usize, upstream: U, metrics: Metrics) -> Arc<Self> {
        Self::with_zones(settings, threads, upstream, Vec::new(), metrics)
    }

    /// The same with the servers of each forward zone of the settings, in that order.
    pub fn with_zones(
        settings: &Settings,
        threads: usize,
        upstream: U,
        forward: Vec<U>,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            cache: Cache::new(settings.cache_size, threads),
            routes: Routes::new(settings, upstream, forward),
            failures: Failures::default(),
            suspects: Suspects::default(),
            types: Arc::default(),
            search: Search::new(settings),
            patience: Patience::new(settings),
            limits: Limits::new(settings),
            serve_stale: settings.serve_stale,
            refresh_ahead: settings.refresh_ahead,
            metrics,
        })
    }

    /// Writes the answer if it is known, and says how: no await, no allocation beyond `out`. The one hit that finds a
    /// popular answer near its end starts the task that asks for it anew.
    pub fn hit(
        self: &Arc<Self>,
        query: &Query<'_>,
        now: Instant,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        if let Some(entry) = self.cache.get(&query.key, now) {
            entry.write(query, now, limit, out);
            if self.refresh_ahead && entry.wants_refresh(now) {
                self.refresh(&query.key, Mode::Anew);
            }
            return Some(Outcome::Hit);
        }
        let known = match self.search.verdict(&query.key) {
            Verdict::Probe => return Some(self.probed(query, out)),
            verdict => self.implied(&query.key, verdict, now),
        };
        match known? {
            Known::Entry(entry) => {
                entry.write(query, now, limit, out);
                Some(Outcome::Hit)
            }
            Known::Missing { zone_at, ttl, outcome } => {
                reply::write_missing(query, zone_at, ttl, out);
                Some(outcome)
            }
        }
    }

    /// Answers a probe: there is no such name, and so this proxy is alive.
    fn probed(&self, query: &Query<'_>, out: &mut Vec<u8>) -> Outcome {
        let outcome = match self.search.zone_at(query.key.name()) {
            // Our own has come back: asked further, it would go round for ever.
            _ if self.is_loop(query) => Outcome::Loop,
            Some(zone_at) if !self.routes.cluster().upstream.condition().is_dead => {
                reply::write_missing(query, zone_at, reply::IMPOSSIBLE_TTL, out);
                return Outcome::HealthCheck;
            }
            _ => Outcome::HealthCheck,
        };
        reply::write_error(query, Rcode::SERVFAIL, out);
        outcome
    }

    /// How much is kept and under way.
    pub fn load(&self) -> Load {
        let Self { cache, routes, .. } = self;
        Load { entries: cache.entries(), bytes: cache.weight(), flights: routes.flights() }
    }

    /// Whether as many questions are under way where that one goes as sources may have that are new: half of all that may be.
    pub fn is_half_full(&self, key: &Key) -> bool {
        let questions = &self.route(key).questions;
        questions.free() <= questions.count()
    }

    /// How many more questions may be under way where that one goes.
    pub fn free_flights(&self, key: &Key) -> usize {
        self.route(key).questions.free()
    }

    /// Whether that query is one of our own that has come back.
    pub fn is_loop(&self, query: &Query<'_>) -> bool {
        self.upstream(&query.key).is_loop(query)
    }

    /// Whom the question of that key is asked of.
    pub fn upstream(&self, key: &Key) -> &U {
        &self.route(key).upstream
    }

    /// Whom names without a forward zone are asked of.
    pub fn cluster_upstream(&self) -> &U {
        &self.routes.cluster().upstream
    }

    /// Whom names of forward zones are asked of, with the zone's name on the wire.
    pub fn forward_upstreams(&self) -> impl Iterator<Item = (&[u8], &U)> {
        self.routes.forward().map(|(zone, route)| (zone, &route.upstream))
    }

    fn route(&self, key: &Key) -> &Route<U> {
        self.routes.of(key.name())
    }

    /// What is answered when it has come, or that nothing has: within [`limits::DEADLINE`], the same for all who wait.
    pub async fn miss(self: &Arc<Self>, key: &Arc<Key>) -> Resolution {
        let upstream = self.upstream(key);
        let is_down = upstream.condition().is_down;
        let stale = self.stale(key, is_down);
        if let Some(entry) = &stale
            && (is_down || entry.was_given_stale() && self.is_being_asked(key))
        {
            self.refresh(key, Mode::Remembered);
            return Resolution::Stale(entry.clone());
        }
        let no_answer = match self.answer_in_time(key, stale.is_some()).await {
            Ok((entry, role)) => return Resolution::Fresh(entry, role),
            Err(no_answer) => no_answer,
        };
        let has_failed = !matches!(no_answer, NoAnswer::Late | NoAnswer::Failed(_));
        if let Some(entry) = self.stale(key, has_failed || upstream.condition().is_down) {
            entry.note_given_stale();
            return Resolution::Stale(entry);
        }
        match no_answer {
            NoAnswer::Overload => Resolution::Overload,
            _ => Resolution::Failed(no_answer.rcode()),
        }
    }

    /// The answer within the deadline; where an expired one may do instead, it is soon too late. Not when the upstream
    /// has said meanwhile that the name is gone, and only our patience holds that back.
    async fn answer_in_time(
        self: &Arc<Self>,
        key: &Arc<Key>,
        has_stale: bool,
    ) -> Result<(Entry, Role), NoAnswer> {
        let start = tokio::time::Instant::now();
        let upstream = self.upstream(key);
        let mut answer = pin!(self.answer(key, Mode::Remembered));
        if has_stale {
            match timeout_at(start + limits::STALE_AFTER, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.stale(key, upstream.condition().is_down).is_some() => {
                    return Err(NoAnswer::Late);
                }
                Err(_) => {}
            }
        }
        // That a name was missing may be given once the servers are known to be down.
        match timeout_at(start + limits::MISSING_AFTER, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) if upstream.condition().is_down && self.stale(key, true).is_some() => {
                return Err(NoAnswer::Late);
            }
            Err(_) => {}
        }
        timeout_at(start + limits::DEADLINE, answer).await.unwrap_or(Err(NoAnswer::Late))
    }

    /// The answer for a client: what the upstream says, or, where the client relies on us, what the search list makes of it.
    async fn answer(self: &Arc<Self>, key: &Arc<Key>, mode: Mode) -> Result<(Entry, Role), NoAnswer> {
        match self.search.verdict(key) {
            Verdict::Complete => self.completed(key, mode).await,
            Verdict::Ask | Verdict::Impossible | Verdict::Probe | Verdict::Below(_) => {
                self.question(key, mode).await
            }
        }
    }

    /// An answer for that question whose life is over, and which may still be given. That a name was missing is such an
    /// answer only while the servers are down or fail (`or_missing`): asking is better. That a peer was missing never is:
    /// it is about to appear.
    fn stale(&self, key: &Key, or_missing: bool) -> Option<Entry> {
        let own = self.cache.get_expired(key);
        let entry = if self.search.shares_missing(key) {
            // That the name is missing may have been said later, to the question for another type.
            let missing = self.cache.get_expired(&key.for_every_type());
            own.into_iter().chain(missing).max_by_key(Entry::stored_at)
        } else {
            own
        };
        let is_peer = self.patience.waits_for(key.name());
        let Some(entry) = entry else {
            return if or_missing && !is_peer { self.expired_below(key) } else { None };
        };
        let is_good = entry.is_positive() || or_missing && !is_peer;
        (is_good && entry.is_usable_stale(now(), self.serve_stale)).then_some(entry)
    }

    /// Whether an answer is under way, to the question as it stands or from the search list.
    pub fn is_being_asked(&self, key: &Key) -> bool {
        let Route { questions, completions, .. } = self.route(key);
        questions.under_way(key).is_some() || completions.under_way(key).is_some()
    }

    /// Asks in the background, unless somebody does already.
    fn refresh(self: &Arc<Self>, key: &Key, mode: Mode) {
        if self.is_being_asked(key) || self.has_failed_lately(key) || !self.upstream(key).may_refresh() {
            return;
        }
        self.metrics.background_query(BackgroundQuery::Refresh);
        let (resolver, key) = (Arc::clone(self), Arc::new(key.clone()));
        tokio::spawn(async move {
            // The outcome is in the cache; a failure leaves what is there.
            let _ = resolver.answer(&key, mode).await;
        });
    }
}

impl<U: Upstream + std::fmt::Debug> Gauges for Resolver<U> {
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let Load { entries, bytes, flights } = self.load();
        vec![
            ("cache_entries", "Answers in the cache, fresh or expired", entries as u64),
            ("cache_size_bytes", "Memory that the cached answers use", bytes),
            ("cache_max_size_bytes", "Memory that the cached answers may use at most", self.cache.size()),
            ("upstream_queries_in_flight", "Queries sent upstream that are not answered yet", flights as u64),
        ]
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let help = "Answers that were evicted from the cache to make room for others";
        vec![("cache_evictions_total", help, self.cache.evictions())]
    }
}

/// The time, by tokio's clock, which tests can hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
