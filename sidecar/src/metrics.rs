//! What is counted. Labels are closed enums, each value present at zero from the start; none comes from a
//! packet or a pod.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

mod labels;
mod sums;

pub use labels::*;
pub use sums::Sums;

/// Handles to every metric; cheap to clone, and to count with: no look-up of a label on the way of a query.
#[derive(Debug, Clone)]
pub struct Metrics {
    queries: [Counter; 2],
    outcomes: [Counter; Outcome::COUNT],
    assists: [Counter; Assist::COUNT],
    limits: [Counter; Limit::COUNT],
    exchanges: [[Counter; 6]; 2],
    exchange_duration: Histogram,
    hedges: Counter,
    budget_exhausted: Counter,
    probes: Counter,
    loops: Counter,
    tier_left: [Counter; 3],
    upstream_connections: [Counter; 2],
    panics: Counter,
}

impl Metrics {
    /// Every series at zero, and the registry that shows them, under the prefix of all our names.
    pub fn new() -> (Self, Registry) {
        let queries = Family::default();
        let outcomes = Family::default();
        let exchanges = Family::default();
        let assists = Family::default();
        let limits = Family::default();
        let connections = Family::default();
        let left = Family::default();
        let metrics = Self {
            queries: Transport::ALL
                .map(|transport| queries.get_or_create_owned(&[("transport", transport.name())])),
            outcomes: Outcome::ALL
                .map(|outcome| outcomes.get_or_create_owned(&[("outcome", outcome.name())])),
            exchanges: Transport::ALL.map(|transport| {
                ExchangeResult::ALL.map(|result| {
                    exchanges
                        .get_or_create_owned(&[("transport", transport.name()), ("result", result.name())])
                })
            }),
            exchange_duration: Histogram::new(EXCHANGE_SECONDS),
            assists: Assist::ALL.map(|assist| assists.get_or_create_owned(&[("assist", assist.name())])),
            limits: Limit::ALL.map(|limit| limits.get_or_create_owned(&[("limit", limit.name())])),
            hedges: Counter::default(),
            budget_exhausted: Counter::default(),
            probes: Counter::default(),
            loops: Counter::default(),
            tier_left: Left::ALL.map(|reason| left.get_or_create_owned(&[("reason", reason.name())])),
            upstream_connections: Origin::ALL
                .map(|origin| connections.get_or_create_owned(&[("origin", origin.name())])),
            panics: Counter::default(),
        };
        let mut registry = Registry::with_prefix("podlocal_dns");
        registry.register("queries", "Messages from clients", queries);
        registry.register("outcomes", "How messages from clients ended", outcomes);
        registry.register("upstream_exchanges", "Exchanges with an upstream, by how they ended", exchanges);
        let duration = metrics.exchange_duration.clone();
        let help = "Time of an exchange with an upstream";
        registry.register_with_unit("upstream_exchange_duration", help, Unit::Seconds, duration);
        metrics.register_upstream(&mut registry, connections);
        let help = "Exchanges that left the shared tier for the next server";
        registry.register("tier_left", help, left);
        registry.register("assists", "What the proxy did of its own accord", assists);
        registry.register("limits_reached", "How often a bound was full", limits);
        registry.register("panics", "Panics that were survived", metrics.panics.clone());
        registry.register("build", "What runs here", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        (metrics, registry)
    }

    fn register_upstream(
        &self,
        registry: &mut Registry,
        connections: Family<[(&'static str, &'static str); 1], Counter>,
    ) {
        let counters = [
            ("upstream_hedges", "Attempts beyond an exchange's first", &self.hedges),
            (
                "upstream_budget_exhausted",
                "Attempts that were not made because the retry budget was empty",
                &self.budget_exhausted,
            ),
            ("upstream_probes", "Questions that watch for the return of an upstream", &self.probes),
            ("upstream_loops", "Queries of our own that came back: an upstream leads here", &self.loops),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let help = "TCP connections that questions to an upstream were sent over";
        registry.register("upstream_tcp_connections", help, connections);
    }

    /// Counts a message from a client, which must be followed by exactly one [`Metrics::outcome`].
    pub fn query(&self, transport: Transport) {
        self.queries[transport as usize].inc();
    }

    /// Counts how a message from a client ended.
    pub fn outcome(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// Counts an exchange with an upstream. One that was overtaken has no duration: it was broken off.
    pub fn exchange(&self, transport: Transport, result: ExchangeResult, took: Duration) {
        self.exchanges[transport as usize][result as usize].inc();
        if result != ExchangeResult::Overtaken {
            self.exchange_duration.observe(took.as_secs_f64());
        }
    }

    /// Counts an attempt beyond an exchange's first.
    pub fn hedged(&self) {
        self.hedges.inc();
    }

    /// Counts an attempt that was not made because the retry budget was empty.
    pub fn budget_exhausted(&self) {
        self.budget_exhausted.inc();
    }

    /// Counts a probe of an upstream.
    pub fn probed(&self) {
        self.probes.inc();
    }

    /// Counts a query of our own that came back.
    pub fn looped(&self) {
        self.loops.inc();
    }

    /// Counts an exchange that left a server of the shared tier for the next one.
    pub fn tier_left(&self, reason: Left) {
        self.tier_left[reason as usize].inc();
    }

    /// Counts a TCP connection that a question to an upstream was sent over.
    pub fn upstream_connection(&self, origin: Origin) {
        self.upstream_connections[origin as usize].inc();
    }

    /// Counts something that the proxy does of its own accord.
    pub fn assist(&self, assist: Assist) {
        self.assists[assist as usize].inc();
    }

    /// Counts that a bound was full.
    pub fn limit_reached(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// Counts a panic that was survived.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

/// The bounds of the histogram: from a fast cluster DNS to our deadline.
const EXCHANGE_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 2.0, 4.0];

/// What is read when somebody looks, not kept up to date by every query.
pub trait Gauges: fmt::Debug + Send + Sync + 'static {
    /// The values of now: name, help, number.
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)>;
}

/// Shows gauges in a registry.
#[derive(Debug)]
pub struct Snapshot(pub Arc<dyn Gauges>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in self.0.gauges() {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn every_series_is_there_at_zero_and_none_has_a_label_from_outside() {
        let (metrics, registry) = Metrics::new();
        metrics.outcome(Outcome::Joined);
        metrics.exchange(Transport::Tcp, ExchangeResult::Silent, Duration::from_secs(1));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        for line in [
            "podlocal_dns_queries_total{transport=\"udp\"} 0",
            "podlocal_dns_outcomes_total{outcome=\"joined\"} 1",
            "podlocal_dns_outcomes_total{outcome=\"overload\"} 0",
            "podlocal_dns_upstream_exchanges_total{transport=\"tcp\",result=\"silent\"} 1",
            "podlocal_dns_upstream_exchange_duration_seconds_count 1",
            "podlocal_dns_limits_reached_total{limit=\"tcp_connections\"} 0",
            "podlocal_dns_assists_total{assist=\"completion\"} 0",
            "podlocal_dns_upstream_exchanges_total{transport=\"udp\",result=\"overtaken\"} 0",
            "podlocal_dns_upstream_tcp_connections_total{origin=\"reused\"} 0",
            "podlocal_dns_upstream_hedges_total 0",
            "podlocal_dns_upstream_budget_exhausted_total 0",
            "podlocal_dns_upstream_probes_total 0",
            "podlocal_dns_upstream_loops_total 0",
            "podlocal_dns_tier_left_total{reason=\"silent\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }
}
