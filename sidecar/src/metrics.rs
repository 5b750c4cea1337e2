//! The metrics of the sidecar. Label values are variants of enums, each present at zero from the start, or
//! addresses and forward zones of the settings; none comes from a packet or a pod.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units, and `_total` for counters. The
//! page is in Prometheus' text format 0.0.4, which every scraper reads and `promtool check metrics` checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use podlocal_settings::value::Role;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod count;
mod forward;
mod labels;
pub mod process;
mod sums;

use count::Count;
pub use labels::*;
pub use sums::Sums;

/// Handles to every metric. They are cheap to clone, and counting looks up no label while a query is
/// answered.
#[derive(Debug, Clone)]
pub struct Metrics {
    queries: [Count; 2],
    outcomes: [Count; Outcome::COUNT],
    background_queries: [Count; BackgroundQuery::COUNT],
    limits: [Count; Limit::COUNT],
    attempts: [[Count; AttemptResult::COUNT]; 2],
    attempt_duration: Histogram,
    responses: [[Count; ResponseCode::COUNT]; 2],
    wait_duration: Histogram,
    retransmissions: Count,
    budget_exhausted: Count,
    health_checks: Count,
    loops: Count,
    unwanted_replies: [Count; 4],
    spoofing_suspected: Count,
    fallbacks: [Count; 3],
    upstream_connections: [Count; 2],
    panics: Count,
}

impl Metrics {
    /// Every series at zero, and the registry that prints them with the prefix `podlocal_dns_`.
    pub fn new() -> (Self, Registry) {
        let queries = Family::default();
        let outcomes = Family::default();
        let attempts = Family::default();
        let background_queries = Family::default();
        let limits = Family::default();
        let connections = Family::default();
        let fallbacks = Family::default();
        let responses = Family::default();
        let unwanted = Family::default();
        let metrics = Self {
            queries: Transport::ALL
                .map(|transport| queries.get_or_create_owned(&[("transport", transport.name())])),
            outcomes: Outcome::ALL
                .map(|outcome| outcomes.get_or_create_owned(&[("outcome", outcome.name())])),
            attempts: Transport::ALL.map(|transport| {
                AttemptResult::ALL.map(|result| {
                    attempts
                        .get_or_create_owned(&[("transport", transport.name()), ("result", result.name())])
                })
            }),
            attempt_duration: Histogram::new(ATTEMPT_SECONDS),
            responses: Server::ALL.map(|server| {
                ResponseCode::ALL.map(|rcode| {
                    responses.get_or_create_owned(&[("server", server.name()), ("rcode", rcode.name())])
                })
            }),
            wait_duration: Histogram::new(WAIT_SECONDS),
            background_queries: BackgroundQuery::ALL
                .map(|reason| background_queries.get_or_create_owned(&[("reason", reason.name())])),
            limits: Limit::ALL.map(|limit| limits.get_or_create_owned(&[("limit", limit.name())])),
            retransmissions: Count::default(),
            budget_exhausted: Count::default(),
            health_checks: Count::default(),
            loops: Count::default(),
            unwanted_replies: Unwanted::ALL
                .map(|reason| unwanted.get_or_create_owned(&[("reason", reason.name())])),
            spoofing_suspected: Count::default(),
            fallbacks: FallbackReason::ALL
                .map(|reason| fallbacks.get_or_create_owned(&[("reason", reason.name())])),
            upstream_connections: Origin::ALL
                .map(|origin| connections.get_or_create_owned(&[("origin", origin.name())])),
            panics: Count::default(),
        };
        let mut registry = Registry::with_prefix("podlocal_dns");
        registry.register("queries_total", "Messages received from clients", queries);
        registry.register("query_outcomes_total", "Messages received from clients, by outcome", outcomes);
        let help = "Time that clients waited for answers that were not in the cache, SERVFAIL included";
        registry.register("query_wait_duration_seconds", help, metrics.wait_duration.clone());
        let help = "Attempts to get an answer from the shared tier or the upstream, by result";
        registry.register("upstream_attempts_total", help, attempts);
        let help = "Time from the transmission to the end of an attempt, without superseded attempts";
        registry.register("upstream_attempt_duration_seconds", help, metrics.attempt_duration.clone());
        let help = "Responses of the shared tier and of the upstream, by RCODE";
        registry.register("upstream_responses_total", help, responses);
        metrics.register_upstream(&mut registry, connections);
        let help = "Replies from the address of an upstream that match no query in flight, by mismatch";
        registry.register("upstream_unwanted_replies_total", help, unwanted);
        let help = "Exchanges that fell back from a server of the shared tier to the next server";
        registry.register("shared_tier_fallbacks_total", help, fallbacks);
        registry.register(
            "background_queries_total",
            "Searches and queries that the sidecar starts in addition to the queries of clients",
            background_queries,
        );
        registry.register("limits_reached_total", "Times that a limit was reached", limits);
        registry.register(
            "panics_total",
            "Panics of tasks, after which the process continued",
            metrics.panics.clone(),
        );
        (metrics, registry)
    }

    fn register_upstream(
        &self,
        registry: &mut Registry,
        connections: Family<[(&'static str, &'static str); 1], Count>,
    ) {
        let counters = [
            (
                "upstream_retransmissions_total",
                "Transmissions of a query after its first one",
                &self.retransmissions,
            ),
            (
                "upstream_retry_budget_exhausted_total",
                "Retries that were not sent because the retry budget was empty",
                &self.budget_exhausted,
            ),
            ("shared_tier_health_checks_total", "Health checks of the shared tier", &self.health_checks),
            (
                "upstream_loops_total",
                "Own upstream queries that came back to this process: the upstream leads back to it",
                &self.loops,
            ),
            (
                "upstream_spoofing_suspected_total",
                "Queries that were sent again over TCP because a reply looked forged",
                &self.spoofing_suspected,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let help = "TCP connections over which queries were sent upstream, by origin";
        registry.register("upstream_tcp_connections_total", help, connections);
    }

    /// Registers the metric that has the version and the role as labels.
    pub fn register_build(registry: &mut Registry, role: Role) {
        let build = Family::<_, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("role", role.name())]).set(1);
        registry.register(
            "build_info",
            "Always 1; the labels are the version and the role of the program",
            build,
        );
    }

    /// Counts a message from a client, which must be followed by exactly one [`Metrics::outcome`].
    pub fn query(&self, transport: Transport) {
        self.queries[transport as usize].inc();
    }

    /// Counts the outcome of a message from a client.
    pub fn outcome(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// Counts an attempt. A superseded one is cancelled, so its duration says nothing and is not observed.
    pub fn attempt(&self, transport: Transport, result: AttemptResult, took: Duration) {
        self.attempts[transport as usize][result as usize].inc();
        if result != AttemptResult::Superseded {
            self.attempt_duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a response, whatever its RCODE is.
    pub fn response(&self, server: Server, rcode: ResponseCode) {
        self.responses[server as usize][rcode as usize].inc();
    }

    /// Observes how long a client has waited for an answer that was not in the cache.
    pub fn waited(&self, time: Duration) {
        self.wait_duration.observe(time.as_secs_f64());
    }

    /// Counts an attempt after the first one of an exchange.
    pub fn retransmitted(&self) {
        self.retransmissions.inc();
    }

    /// Counts a retry that was not sent because the retry budget was empty.
    pub fn budget_exhausted(&self) {
        self.budget_exhausted.inc();
    }

    /// Counts a health check of a server of the shared tier.
    pub fn health_checked(&self) {
        self.health_checks.inc();
    }

    /// Counts an upstream query of this process that came back to it.
    pub fn looped(&self) {
        self.loops.inc();
    }

    /// Counts a reply that matches no query in flight.
    pub fn unwanted_reply(&self, reason: Unwanted) {
        self.unwanted_replies[reason as usize].inc();
    }

    /// Counts a query that is sent again over TCP because of such a reply.
    pub fn spoofing_suspected(&self) {
        self.spoofing_suspected.inc();
    }

    /// Counts an exchange that fell back from a server of the shared tier to the next one.
    pub fn fell_back(&self, reason: FallbackReason) {
        self.fallbacks[reason as usize].inc();
    }

    /// Counts a TCP connection over which a query was sent upstream.
    pub fn upstream_connection(&self, origin: Origin) {
        self.upstream_connections[origin as usize].inc();
    }

    /// Counts a search or a query that no client has sent.
    pub fn background_query(&self, reason: BackgroundQuery) {
        self.background_queries[reason as usize].inc();
    }

    /// Counts that a limit was reached.
    pub fn limit_reached(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// Counts a panic after which the process continued.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

/// The buckets of the histogram of attempts: from a fast cluster DNS to a very slow one.
const ATTEMPT_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 2.0, 4.0];

/// The buckets of the histogram of waits: a lost query is retransmitted after 0.1 s, an expired answer is
/// sent after 0.4 s, and glibc times out after 5 s.
const WAIT_SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.3, 0.5, 1.0, 2.0, 5.0];

/// Values that a scrape reads where they are, instead of metrics that every query updates.
pub trait Gauges: fmt::Debug + Send + Sync + 'static {
    /// The gauges: name, help, value.
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)>;

    /// The counters: name, help, value.
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }

    /// The servers: the address, the label, and whether the server is healthy, so not ejected.
    fn servers(&self) -> Vec<(String, Server, bool)> {
        Vec::new()
    }
}

/// Prints [`Gauges`] in a registry.
#[derive(Debug)]
pub struct Snapshot(pub Arc<dyn Gauges>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.0.counters().into_iter().map(|counter| (counter, MetricType::Counter));
        let gauges = self.0.gauges().into_iter().map(|gauge| (gauge, MetricType::Gauge));
        for ((name, help, value), kind) in gauges.chain(counters) {
            shown(value).encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let servers = self.0.servers();
        if servers.is_empty() {
            return Ok(());
        }
        let help = "1 while the server is healthy, 0 while it is ejected";
        let mut family = encoder.encode_descriptor("upstream_healthy", help, None, MetricType::Gauge)?;
        for (address, server, is_healthy) in servers {
            let labels = [("address", address.as_str()), ("server", server.name())];
            shown(u64::from(is_healthy)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A value as a metric of the page.
pub(crate) fn shown(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn every_series_starts_at_zero() {
        let (metrics, registry) = Metrics::new();
        metrics.outcome(Outcome::Coalesced);
        metrics.attempt(Transport::Tcp, AttemptResult::Timeout, Duration::from_secs(1));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        for line in [
            "podlocal_dns_queries_total{transport=\"udp\"} 0",
            "podlocal_dns_query_outcomes_total{outcome=\"coalesced\"} 1",
            "podlocal_dns_query_outcomes_total{outcome=\"over_limit\"} 0",
            "podlocal_dns_upstream_attempts_total{transport=\"tcp\",result=\"timeout\"} 1",
            "podlocal_dns_upstream_attempt_duration_seconds_count 1",
            "podlocal_dns_limits_reached_total{limit=\"tcp_connections\"} 0",
            "podlocal_dns_background_queries_total{reason=\"search_completion\"} 0",
            "podlocal_dns_upstream_attempts_total{transport=\"udp\",result=\"superseded\"} 0",
            "podlocal_dns_upstream_tcp_connections_total{origin=\"reused\"} 0",
            "podlocal_dns_upstream_retransmissions_total 0",
            "podlocal_dns_upstream_retry_budget_exhausted_total 0",
            "podlocal_dns_shared_tier_health_checks_total 0",
            "podlocal_dns_upstream_loops_total 0",
            "podlocal_dns_upstream_unwanted_replies_total{reason=\"id\"} 0",
            "podlocal_dns_upstream_spoofing_suspected_total 0",
            "podlocal_dns_shared_tier_fallbacks_total{reason=\"timeout\"} 0",
            "podlocal_dns_upstream_responses_total{server=\"shared_tier\",rcode=\"refused\"} 0",
            "podlocal_dns_query_wait_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }
}
