//! The main path of a query: a cached answer, else the answer of the upstream, else an expired answer.
//!
//! ```text
//!   hit    cache, rules                                     no await, no task
//!   miss   direct: a question that is decided by one answer of the upstream: no task
//!          answer -> question (one flight per question)     queries the upstream
//!                 -> completion (one flight per question)   the search list, candidate by candidate, then the question
//!          an expired answer, when the upstream is silent for 400 ms, immediately when it is known to be down
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use podlocal_dns::key::Key;
use podlocal_dns::search::{Search, Verdict};
use podlocal_dns::wire::{Rcode, TYPE_A};
use podlocal_settings::Settings;

use crate::cache::Cache;
use crate::cache::lifetime::TtlLimits;
use crate::metrics::{Metrics, Outcome};
use crate::query::Query;
use crate::reply;
use crate::upstream::Upstream;

use ancestors::SuspectServices;
use awaited_names::AwaitedNames;
use failures::Failures;
use outcome::Denial;
use question::Mode;
use routes::{Route, Routes};
use type_limit::TypesInFlight;

pub mod ancestors;
mod answers;
pub mod awaited_names;
pub mod completion;
pub mod direct;
pub mod explain;
pub mod failures;
mod miss;
mod outcome;
pub mod prefetch;
pub mod question;
mod routes;
pub mod type_limit;

pub use outcome::{Miss, NoAnswer, Resolution};

/// Answers queries, from the cache or the upstream.
#[derive(Debug)]
pub struct Resolver<U> {
    cache: Cache,
    /// The upstreams, by name.
    routes: Routes<U>,
    failures: Failures,
    suspects: SuspectServices,
    types_in_flight: Arc<TypesInFlight>,
    search: Search,
    awaited_names: AwaitedNames,
    limits: TtlLimits,
    serve_stale: Duration,
    refresh_ahead: bool,
    /// Whether several threads resolve questions.
    is_shared: bool,
    metrics: Metrics,
}

impl<U: Upstream> Resolver<U> {
    /// A resolver with an empty cache, for so many threads, without forward zones.
    pub fn new(settings: &Settings, threads: usize, upstream: U, metrics: Metrics) -> Arc<Self> {
        Self::with_zones(settings, threads, upstream, Vec::new(), metrics)
    }

    /// The same with the upstream of each forward zone of the settings, in that order.
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
            suspects: SuspectServices::default(),
            types_in_flight: Arc::default(),
            search: Search::new(settings),
            awaited_names: AwaitedNames::new(settings),
            limits: TtlLimits::new(settings),
            serve_stale: settings.serve_stale,
            refresh_ahead: settings.refresh_ahead,
            is_shared: threads > 1,
            metrics,
        })
    }

    /// Writes the answer if it is known, and returns the outcome: no await, no allocation beyond `out`. The
    /// one hit that finds a popular answer near its end starts the task that refreshes it.
    ///
    /// # Errors
    ///
    /// What the look into the cache has shown about a question whose answer is not known.
    pub fn try_hit(
        self: &Arc<Self>,
        query: &Query<'_>,
        now: Instant,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Miss> {
        let own = self.cache.get_expired(&query.key);
        if let Some(entry) = &own
            && entry.is_fresh(now)
        {
            entry.write(query, now, limit, out);
            if self.refresh_ahead && entry.wants_refresh(now) {
                self.refresh(&query.key, Mode::AskUpstream);
            }
            return Ok(Outcome::Hit);
        }
        self.try_other_hits(query, own.is_some(), now, limit, out)
    }

    /// The same for a question without a fresh answer of its own.
    fn try_other_hits(
        self: &Arc<Self>,
        query: &Query<'_>,
        has_expired: bool,
        now: Instant,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Miss> {
        let key = &query.key;
        let verdict = self.search.verdict(key);
        if verdict == Verdict::Probe {
            return Ok(self.answer_probe(query, out));
        }
        let shares_missing = self.search.shares_missing(key);
        let missing = if shares_missing { self.cache.get_expired(&key.for_every_type()) } else { None };
        if let Some(entry) = &missing
            && entry.is_fresh(now)
        {
            entry.write(query, now, limit, out);
            return Ok(Outcome::Hit);
        }
        if let Some(Denial { zone_at, ttl, outcome }) = self.decide_by_rules(key, verdict, now) {
            reply::write_missing(query, zone_at, ttl, out);
            return Ok(outcome);
        }
        Err(Miss {
            is_free_of_rules: verdict == Verdict::Ask,
            // Only the answer to A is cached for every type, and this is the one query for it in flight.
            may_deny_every_type: shares_missing && (missing.is_some() || key.type_and_class().0 != TYPE_A),
            has_expired: has_expired || missing.is_some(),
        })
    }

    /// Answers a probe: NXDOMAIN shows that this proxy is alive.
    fn answer_probe(&self, query: &Query<'_>, out: &mut Vec<u8>) -> Outcome {
        let outcome = match self.search.zone_at(query.key.name()) {
            // The proxy's own probe has come back: forwarded again, it would circulate forever.
            _ if self.is_loop(query) => Outcome::Loop,
            Some(zone_at) if !self.routes.cluster.upstream.condition().is_dead => {
                reply::write_missing(query, zone_at, reply::IMPOSSIBLE_TTL, out);
                return Outcome::HealthCheck;
            }
            _ => Outcome::HealthCheck,
        };
        reply::write_error(query, Rcode::SERVFAIL, out);
        outcome
    }

    /// The cache of answers.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The number of queries in flight to the upstream.
    pub fn flights(&self) -> usize {
        self.routes.flights()
    }

    /// Whether the flights on the route of that question have reached half of their limit, the share of
    /// unverified sources.
    pub fn is_half_full(&self, key: &Key) -> bool {
        let questions = &self.route(key).questions;
        questions.free() <= questions.count()
    }

    /// How many more flights may start on the route of that question.
    pub fn free_flights(&self, key: &Key) -> usize {
        self.route(key).questions.free()
    }

    /// Whether that query is one of this proxy's own that has come back.
    pub fn is_loop(&self, query: &Query<'_>) -> bool {
        self.upstream(&query.key).is_loop(query)
    }

    /// The upstream for the question of that key.
    pub fn upstream(&self, key: &Key) -> &U {
        &self.route(key).upstream
    }

    /// The upstream for names without a forward zone.
    pub fn cluster_upstream(&self) -> &U {
        &self.routes.cluster.upstream
    }

    /// The upstreams of forward zones, with the name of the zone on the wire.
    pub fn forward_upstreams(&self) -> impl Iterator<Item = (&[u8], &U)> {
        self.routes.forward.all().map(|(zone, route)| (zone, &route.upstream))
    }

    fn route(&self, key: &Key) -> &Route<U> {
        self.routes.route_of(key.name())
    }

    /// Whether a query or a search expansion for that question is in flight.
    pub fn is_in_flight(&self, key: &Key) -> bool {
        let Route { questions, completions, .. } = self.route(key);
        questions.is_in_flight(key) || completions.is_in_flight(key)
    }
}

/// The time of tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
