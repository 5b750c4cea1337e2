//! The part that UDP and TCP share: for each message, decides between an answer, silence, and waiting for the
//! upstream.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::wire::{self, Flags, Rcode};
use podlocal_settings::Settings;

use crate::connections::Connections;
use crate::limits;
use crate::metrics::{ByTransport, Gauges, Limit, Metrics, Outcome, Transport};
use crate::query::{Client, Query, Rejected};
use crate::reply;
use crate::resolver::{Miss, Resolution, Resolver};
use crate::sources::{MissPermit, Refused, Sources};
use crate::top_names::TopNames;
use crate::upstream::Upstream;
use crate::upstream::source::with_source;

use query_recorder::QueryRecorder;

pub mod explain;
mod late;
mod pending;
mod query_recorder;
pub mod tcp;
pub mod udp;

/// An answer over UDP that is more than this many times as long as its query counts towards the limit of its
/// source. Shorter ones do not help an attacker who wants a flood sent to a forged address, and nearly all
/// answers are shorter.
const LONG_ANSWER_FACTOR: usize = 4;

/// Answers messages with one resolver, over UDP and TCP.
#[derive(Debug)]
pub struct Service<U> {
    resolver: Arc<Resolver<U>>,
    metrics: Metrics,
    sources: Sources,
    recorder: QueryRecorder,
    max_udp_size: usize,
    max_waiters: usize,
    max_waiters_per_query: usize,
    /// Shared with every query that waits, so its reference count is their number, and one.
    waiting: Arc<()>,
    /// The TCP connections of all listeners.
    connections: Arc<Connections>,
}

/// The next step for a message.
#[derive(Debug)]
pub enum Step<'a> {
    /// Send the answer that was written; it is counted with this outcome.
    Answer(Outcome),
    /// Send nothing; the message is counted with this outcome.
    Silence(Outcome),
    /// Await [`Service::resolve`], and send the answer that its result writes. Keep the places until then.
    Wait(Box<Query<'a>>, Miss, Places),
}

/// The places that a query holds while it waits: one of all, and one of its source.
#[derive(Debug)]
pub struct Places {
    _of_all: Arc<()>,
    /// When the query began to wait.
    since: Instant,
    _of_source: MissPermit,
}

impl<U: Upstream> Service<U> {
    /// A service with this resolver and the limits of the settings.
    pub fn new(settings: &Settings, resolver: Arc<Resolver<U>>, metrics: Metrics, now: Instant) -> Arc<Self> {
        let bounds = tcp::bounds(settings.max_tcp_connections, settings.max_tcp_connections_per_source);
        Arc::new(Self {
            resolver,
            connections: Connections::new(bounds, metrics.clone(), now),
            metrics,
            sources: Sources::new(settings, now),
            recorder: QueryRecorder::new(settings.query_log),
            max_udp_size: settings.max_udp_size,
            max_waiters: settings.max_waiters,
            max_waiters_per_query: settings.max_waiters_per_query,
            waiting: Arc::default(),
        })
    }

    /// Answers what can be answered immediately: hits, messages that are not valid queries, and misses over a
    /// limit.
    pub fn step<'a>(
        &self,
        bytes: &'a [u8],
        source: IpAddr,
        transport: Transport,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Step<'a> {
        self.metrics.queries.inc(ByTransport(transport));
        if !self.sources.are_answered(source, now) {
            self.metrics.outcomes.inc(Outcome::SourceNotAllowed);
            return Step::Silence(Outcome::SourceNotAllowed);
        }
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(rejected) => return self.reject(bytes, rejected, out),
        };
        let client = query.client();
        let miss = match self.resolver.try_hit(&query, now, self.limit(&client, transport), out) {
            Ok(Outcome::HealthCheck) if self.sources.is_silenced(source, now) => {
                self.end(&client, transport, Outcome::RateLimited);
                return Step::Silence(Outcome::RateLimited);
            }
            Ok(outcome) => {
                let is_long = transport == Transport::Udp && out.len() > LONG_ANSWER_FACTOR * bytes.len();
                if is_long && !self.sources.try_spend_long_answer(source, now) {
                    return self.truncate(&query, Limit::LargeAnswersPerSource, out);
                }
                self.end(&client, transport, outcome);
                return Step::Answer(outcome);
            }
            Err(miss) => miss,
        };
        let refused = if self.resolver.is_loop(&query) {
            Outcome::Loop
        } else if transport == Transport::Udp && self.is_too_new(&query.key, source, now) {
            return self.truncate(&query, Limit::NewSources, out);
        } else {
            match self.places(&query.key, source, now) {
                Ok(places) => return Step::Wait(Box::new(query), miss, places),
                Err(Refused { limit, is_reported }) => {
                    self.metrics.limits.inc(limit);
                    if !is_reported {
                        self.end(&client, transport, Outcome::RateLimited);
                        return Step::Silence(Outcome::RateLimited);
                    }
                    Outcome::OverLimit
                }
            }
        };
        reply::write_error(&query, Rcode::SERVFAIL, out);
        self.end(&client, transport, refused);
        Step::Answer(refused)
    }

    /// Resolves a question for all queries that wait for its answer; `source` sent the first of them.
    pub async fn resolve(&self, key: &Arc<Key>, source: IpAddr) -> Resolution {
        with_source(self.sources.number(source), self.resolver.resolve_miss(key)).await
    }

    /// The number of clients that wait for an answer.
    pub fn waiting(&self) -> usize {
        Arc::strong_count(&self.waiting) - 1
    }

    /// The resolver, for introspection.
    pub fn resolver(&self) -> &Arc<Resolver<U>> {
        &self.resolver
    }

    /// The most frequent names; the first call starts counting. See [`TopNames`].
    pub fn top_names(&self) -> TopNames {
        self.recorder.top_names()
    }

    /// Whether the source of a miss over UDP must prove its address over TCP first. A query for a question in
    /// flight costs nothing and is allowed: the pods of a gang are all new, and send the same queries.
    fn is_too_new(&self, key: &Key, source: IpAddr, now: Instant) -> bool {
        self.sources.is_new(source, now)
            && !self.resolver.is_in_flight(key)
            && (self.resolver.is_half_full(key) || !self.sources.try_spend_new_source(now))
    }

    /// Answers with TC, in no more bytes than the query: a client with a genuine address retries over TCP.
    fn truncate(&self, query: &Query<'_>, limit: Limit, out: &mut Vec<u8>) -> Step<'static> {
        self.metrics.limits.inc(limit);
        reply::write_error(query, Rcode::NO_ERROR, out);
        wire::set_flag(out, Flags::TC);
        self.end(&query.client(), Transport::Udp, Outcome::Truncated);
        Step::Answer(Outcome::Truncated)
    }

    /// Reserves the places for a query that waits.
    fn places(&self, key: &Key, source: IpAddr, now: Instant) -> Result<Places, Refused> {
        let free = self.max_waiters.saturating_sub(self.waiting());
        if free == 0 {
            return Err(self.sources.refuse(source, Limit::Waiters, now));
        }
        // A query that waits may need a flight of its own, and there are fewer flights than places.
        let free = || free.min(self.resolver.free_flights(key).saturating_mul(4).max(1));
        let of_source = self.sources.admit_miss(source, free, now)?;
        // Several workers may take the last place at the same time: the limit protects memory and need not be
        // exact.
        Ok(Places { _of_all: Arc::clone(&self.waiting), since: now, _of_source: of_source })
    }

    fn reject(&self, bytes: &[u8], rejected: Rejected, out: &mut Vec<u8>) -> Step<'static> {
        if reply::write_rejection(bytes, rejected, out) {
            self.metrics.outcomes.inc(Outcome::Invalid);
            Step::Answer(Outcome::Invalid)
        } else {
            self.metrics.outcomes.inc(Outcome::NotAQuery);
            Step::Silence(Outcome::NotAQuery)
        }
    }

    /// The maximum size of an answer to this client, in bytes.
    ///
    /// | query over | the client sends | maximum |
    /// |---|---|---|
    /// | UDP | no EDNS | 512 (RFC 1035 section 4.2.1) |
    /// | UDP | EDNS | its UDP payload size, at least 512 (RFC 6891 section 6.2.3), at most `max-udp-size` |
    /// | TCP | anything | 65,535 |
    fn limit(&self, client: &Client<'_>, transport: Transport) -> usize {
        match (transport, client.edns) {
            (Transport::Tcp, _) => limits::TCP_MESSAGE,
            (Transport::Udp, None) => limits::UDP_ANSWER_WITHOUT_EDNS,
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.payload_size).clamp(limits::UDP_ANSWER_WITHOUT_EDNS, self.max_udp_size)
            }
        }
    }

    /// Writes the answer to a client that has waited for it, and counts its outcome. `is_first`: no other client
    /// has received this answer.
    fn answer(
        &self,
        client: &Client<'_>,
        transport: Transport,
        resolution: &Resolution,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let outcome = match resolution.write(*client, self.limit(client, transport), out) {
            Outcome::Miss if !is_first => Outcome::Coalesced,
            outcome => outcome,
        };
        self.end(client, transport, outcome);
        outcome
    }

    /// Records how long a query has waited.
    fn record_wait(&self, places: &Places, now: Instant) {
        let waited = now.saturating_duration_since(places.since);
        self.metrics.wait_duration.observe(waited.as_secs_f64());
    }

    fn end(&self, client: &Client<'_>, transport: Transport, outcome: Outcome) {
        self.metrics.outcomes.inc(outcome);
        if self.recorder.is_enabled() {
            self.recorder.record(client, transport, outcome);
        }
    }
}

impl<U: Upstream + std::fmt::Debug> Gauges for Service<U> {
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let (cache, flights) = (self.resolver.cache(), self.resolver.flights() as u64);
        vec![
            ("queries_waiting", "Queries of clients that wait for an answer", self.waiting() as u64),
            ("cache_entries", "Answers in the cache, fresh or expired", cache.entries() as u64),
            ("cache_size_bytes", "Memory that the cached answers use", cache.weight()),
            ("cache_max_size_bytes", "Memory that the cached answers may use at most", cache.size()),
            ("upstream_queries_in_flight", "Queries sent upstream that are not answered yet", flights),
        ]
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let help = "Answers that were evicted from the cache to make room for others";
        vec![("cache_evictions_total", help, self.resolver.cache().evictions())]
    }
}
