//! Introspection: the endpoints for `podlocal-inspect`. They answer only their own pod, and at most
//! [`limits::LOOKUPS`] lookups run at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hyper::StatusCode;
use podlocal_dns::report::stats::{Cache, Counts, ForwardZone, Name, Names, Server, Stats, Upstream};
use podlocal_dns::report::target;
use podlocal_dns::wire::{self, CLASS_IN, Flags, HEADER_LENGTH, NameText};
use podlocal_settings::Settings;
use podlocal_telemetry::{Counters, Labels};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::trace::{LookupTrace, build_report, micros};
use crate::limits;
use crate::metrics::{BackgroundQuery, ByTransport, Limit, Metrics, Outcome, process};
use crate::server::Service;
use crate::top_names::TopNames;
use crate::upstream::observers::Observation;
use crate::upstream::{Servers, Upstream as _};

/// The maximum number of names in the statistics.
const MAX_NAMES: usize = 20;

/// Answers `/lookup` and `/stats`.
#[derive(Debug)]
pub struct Introspection {
    service: Arc<Service<Servers>>,
    metrics: Metrics,
    settings: Settings,
    workers: usize,
    started: Instant,
    lookups: Semaphore,
}

/// A status and a body: JSON, or a message for people.
pub(super) type Reply = (StatusCode, String);

impl Introspection {
    /// `settings` have the addresses that were bound. The uptime counts from this call.
    pub fn new(service: Arc<Service<Servers>>, metrics: Metrics, settings: Settings, workers: usize) -> Self {
        let lookups = Semaphore::new(limits::LOOKUPS);
        Self { service, metrics, settings, workers, started: Instant::now(), lookups }
    }

    /// Sends the query that a client would send, and reports how it was answered.
    pub(super) async fn lookup(&self, query: Option<&str>) -> Reply {
        let target::LookupTarget { name, rtype } = match target::parse_lookup(query) {
            Ok(target) => target,
            Err(message) => return (StatusCode::BAD_REQUEST, format!("{message}\n")),
        };
        let Ok(_permit) = self.lookups.try_acquire() else {
            let message = format!("{} lookups are running already; try again in a moment\n", limits::LOOKUPS);
            return (StatusCode::SERVICE_UNAVAILABLE, message);
        };
        let question = wire::question(&name, rtype, CLASS_IN);
        let key = podlocal_dns::key::Key::new(&question, Flags(Flags::RD), false);
        let resolver = self.service.resolver();
        let forward = resolver.forward_upstreams().map(|(_, servers)| servers);
        let upstreams = std::iter::once(resolver.cluster_upstream()).chain(forward);
        let observations: Vec<_> = upstreams.map(Servers::observe).collect();
        let explained = self.service.explain(&query_message(&question)).await;
        let now = Instant::now().into_std();
        let walked = if explained.waited.is_some() { resolver.walked(&key, now) } else { Vec::new() };
        let related = resolver.related(&key);
        let mut events: Vec<_> = observations.iter().flat_map(Observation::events).collect();
        events.retain(|observed| related.contains(&observed.key));
        events.sort_by_key(|observed| observed.at);
        let trace = LookupTrace {
            key: &key,
            explained: &explained,
            resolver,
            events: &events,
            after: &resolver.question_status(&key, now),
            walked: &walked,
        };
        json(&build_report(&trace))
    }

    /// The counters since the start, and the present state.
    pub(super) fn stats(&self, query: Option<&str>) -> Reply {
        let now = Instant::now();
        let Metrics { queries, outcomes, background_queries, limits, panics, .. } = &self.metrics;
        let resolver = self.service.resolver();
        let cache = resolver.cache();
        let names = target::wants_names(query).then(|| top_names(&self.service.top_names(), now));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        json(&Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: (now - self.started).as_secs(),
            role: self.settings.role.name().to_owned(),
            listen: self.settings.listen.iter().map(ToString::to_string).collect(),
            workers: self.workers,
            search: self.settings.search_list(),
            ndots: self.settings.ndots.into(),
            queries: counts(queries, |ByTransport(transport)| transport.name()),
            outcomes: counts(outcomes, Outcome::label),
            background_queries: counts(background_queries, BackgroundQuery::label),
            limits_reached: counts(limits, Limit::label),
            panics: panics.get(),
            queries_waiting: self.service.waiting(),
            queries_in_flight: resolver.flights(),
            cache: Cache { entries: cache.entries(), bytes: cache.weight(), max_bytes: cache.size() },
            upstream: upstream(resolver.cluster_upstream(), now),
            forward_zones: resolver
                .forward_upstreams()
                .map(|(zone, servers)| ForwardZone {
                    zone: NameText(zone).to_string(),
                    upstream: upstream(servers, now),
                })
                .collect(),
            memory: process::memory(&status),
            names,
        })
    }
}

/// Whether a connection comes from this pod: both its ends are `127.0.0.1` or `::1`. The proxy of a service
/// mesh forwards connections of other pods from 127.0.0.6 (`InboundPassthroughCluster` of Istio), or to the
/// address of the pod.
pub(super) fn is_from_this_pod(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> bool {
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let is_own = |address: SocketAddr| own.contains(&address.ip().to_canonical());
    peer.is_some_and(is_own) && local.is_some_and(is_own)
}

/// The query that a C library sends: with RD, without EDNS.
fn query_message(question: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LENGTH];
    wire::put_header(&mut bytes, 0, Flags(Flags::RD));
    wire::put_counts(&mut bytes, 1, [0; 3]);
    bytes.extend_from_slice(question);
    bytes
}

fn top_names(names: &TopNames, now: Instant) -> Names {
    let top = names.most_frequent(MAX_NAMES).into_iter().map(|counted| Name {
        name: NameText(&counted.name).to_string(),
        count: counted.count,
        error: counted.error,
    });
    Names { counted_for_s: (now - names.since).as_secs(), top: top.collect() }
}

fn upstream(servers: &Servers, now: Instant) -> Upstream {
    let metrics = servers.metrics();
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
    let statuses = servers.server_statuses().into_iter().enumerate();
    let statuses = statuses.map(|(index, (address, status, failure))| Server {
        address: address.to_string(),
        is_shared_tier: servers.server(index).is_some_and(|(_, is_shared_tier)| is_shared_tier),
        is_ejected: status.is_ejected,
        failures: status.failures,
        srtt_us: status.round_trip.map(|(mean, _)| micros(mean)),
        rttvar_us: status.round_trip.map(|(_, variation)| micros(variation)),
        last_response_s: status.last_response.map(Instant::from_std).map(ago),
        last_failure_s: failure.map(|(at, _)| ago(at)),
        last_failure: failure.map(|(_, result)| result.label().to_owned()),
    });
    Upstream {
        is_unavailable: servers.condition().is_down,
        retry_budget: servers.budget_tenths() / 10,
        attempts: counts(&metrics.attempts, |(_, result)| result.label()),
        retransmissions: metrics.retransmissions.get(),
        retry_budget_exhausted: metrics.budget_exhausted.get(),
        servers: statuses.collect(),
    }
}

/// The values of the counters, summed by one of their labels.
fn counts<L: Labels>(counters: &Counters<L>, label: impl Fn(L) -> &'static str) -> Counts {
    let mut counts = Counts::new();
    for (labels, value) in counters.values() {
        *counts.entry(label(labels).to_owned()).or_default() += value;
    }
    counts
}

fn json(document: &impl Serialize) -> Reply {
    match serde_json::to_string(document) {
        Ok(text) => (StatusCode::OK, text + "\n"),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AttemptResult, Transport};
    use std::time::Duration;

    #[test]
    fn sums_add_the_attempts_of_both_transports() {
        let metrics = Metrics::default();
        metrics.outcomes.inc(Outcome::Stale);
        for transport in Transport::ALL {
            metrics.attempt(transport, AttemptResult::Timeout, Duration::ZERO);
        }
        let outcomes = counts(&metrics.outcomes, Outcome::label);
        assert_eq!([outcomes["stale"], outcomes["hit"]], [1, 0]);
        assert_eq!(counts(&metrics.attempts, |(_, result)| result.label())["timeout"], 2);
    }

    #[test]
    fn only_loopback_connections_come_from_this_pod() {
        let table = [
            ("127.0.0.1:4000", "127.0.0.1:9353", true),
            ("[::1]:4000", "[::1]:9353", true),
            ("[::ffff:127.0.0.1]:4000", "[::ffff:127.0.0.1]:9353", true),
            ("10.244.0.7:4000", "10.244.0.8:9353", false),
            ("10.244.0.8:4000", "10.244.0.8:9353", false),
            ("127.0.0.6:4000", "10.244.0.8:9353", false),
            ("127.0.0.6:4000", "127.0.0.1:9353", false),
            ("127.0.0.1:4000", "10.244.0.8:9353", false),
        ];
        for (peer, local, expected) in table {
            let [peer, local] = [peer, local].map(|text| Some(text.parse().expect("an address")));
            assert_eq!(is_from_this_pod(peer, local), expected, "{peer:?} {local:?}");
        }
        assert!(!is_from_this_pod(None, "127.0.0.1:1".parse().ok()));
    }
}
