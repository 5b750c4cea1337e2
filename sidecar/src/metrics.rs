//! What is counted. Labels are closed enums, each value present at zero from the start, or addresses and forward zones of the
//! settings; none comes from a packet or a pod.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` for what only grows. The page is in
//! Prometheus' text format 0.0.4, which everything that scrapes reads, and `promtool check metrics` checks.

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

/// Handles to every metric; cheap to clone, and to count with: no look-up of a label on the way of a query.
#[derive(Debug, Clone)]
pub struct Metrics {
    queries: [Count; 2],
    outcomes: [Count; Outcome::COUNT],
    assists: [Count; Assist::COUNT],
    limits: [Count; Limit::COUNT],
    exchanges: [[Count; ExchangeResult::COUNT]; 2],
    exchange_duration: Histogram,
    responses: [[Count; ResponseCode::COUNT]; 2],
    wait_duration: Histogram,
    hedges: Count,
    budget_exhausted: Count,
    probes: Count,
    loops: Count,
    unwanted: [Count; 4],
    doubted: Count,
    tier_left: [Count; 3],
    upstream_connections: [Count; 2],
    panics: Count,
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
        let responses = Family::default();
        let unwanted = Family::default();
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
            responses: Server::ALL.map(|server| {
                ResponseCode::ALL.map(|rcode| {
                    responses.get_or_create_owned(&[("server", server.name()), ("rcode", rcode.name())])
                })
            }),
            wait_duration: Histogram::new(WAIT_SECONDS),
            assists: Assist::ALL.map(|assist| assists.get_or_create_owned(&[("assist", assist.name())])),
            limits: Limit::ALL.map(|limit| limits.get_or_create_owned(&[("limit", limit.name())])),
            hedges: Count::default(),
            budget_exhausted: Count::default(),
            probes: Count::default(),
            loops: Count::default(),
            unwanted: Unwanted::ALL.map(|reason| unwanted.get_or_create_owned(&[("reason", reason.name())])),
            doubted: Count::default(),
            tier_left: Left::ALL.map(|reason| left.get_or_create_owned(&[("reason", reason.name())])),
            upstream_connections: Origin::ALL
                .map(|origin| connections.get_or_create_owned(&[("origin", origin.name())])),
            panics: Count::default(),
        };
        let mut registry = Registry::with_prefix("podlocal_dns");
        registry.register("queries_total", "Messages from clients", queries);
        registry.register("outcomes_total", "How messages from clients ended", outcomes);
        let help = "Time that a client waited whose answer was not known at once, SERVFAIL included";
        registry.register("wait_duration_seconds", help, metrics.wait_duration.clone());
        let help = "Attempts to ask an upstream, by how they ended";
        registry.register("upstream_exchanges_total", help, exchanges);
        let help = "Time of an attempt to ask an upstream that was not overtaken";
        registry.register("upstream_exchange_duration_seconds", help, metrics.exchange_duration.clone());
        let help = "Responses of the shared tier and of the upstream, by what they say";
        registry.register("upstream_responses_total", help, responses);
        metrics.register_upstream(&mut registry, connections);
        let help = "Replies from the address of an upstream that answer no question of ours";
        registry.register("upstream_unwanted_replies_total", help, unwanted);
        let help = "Exchanges that left the shared tier for the next server";
        registry.register("tier_left_total", help, left);
        registry.register("assists_total", "What the proxy did of its own accord", assists);
        registry.register("limits_reached_total", "How often a bound was full", limits);
        registry.register("panics_total", "Panics that were survived", metrics.panics.clone());
        (metrics, registry)
    }

    fn register_upstream(
        &self,
        registry: &mut Registry,
        connections: Family<[(&'static str, &'static str); 1], Count>,
    ) {
        let counters = [
            ("upstream_hedges_total", "Transmissions of a question after its first", &self.hedges),
            (
                "upstream_budget_exhausted_total",
                "Attempts that were not made because the retry budget was empty",
                &self.budget_exhausted,
            ),
            ("upstream_probes_total", "Questions by which the shared tier is checked", &self.probes),
            (
                "upstream_loops_total",
                "Queries of our own that came back: an upstream leads here",
                &self.loops,
            ),
            (
                "upstream_doubted_total",
                "Questions that went on over TCP because somebody seems to forge answers",
                &self.doubted,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let help = "TCP connections that questions to an upstream were sent over";
        registry.register("upstream_tcp_connections_total", help, connections);
    }

    /// Tells the version, and as what the program runs.
    pub fn register_build(registry: &mut Registry, role: Role) {
        let build = Family::<_, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("role", role.name())]).set(1);
        registry.register("build_info", "What runs here: the program's version, and its role", build);
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

    /// Counts a response, of whatever kind.
    pub fn response(&self, server: Server, rcode: ResponseCode) {
        self.responses[server as usize][rcode as usize].inc();
    }

    /// Notes how long a client has waited for an answer that was not known at once.
    pub fn waited(&self, time: Duration) {
        self.wait_duration.observe(time.as_secs_f64());
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

    /// Counts a reply that answers no question of ours.
    pub fn unwanted_reply(&self, reason: Unwanted) {
        self.unwanted[reason as usize].inc();
    }

    /// Counts a question that goes on over TCP because of one.
    pub fn doubted(&self) {
        self.doubted.inc();
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

/// The bounds of the histogram of waits: 0.1 s is where a lost question is sent again, 0.4 s where an expired answer is given,
/// 5 s where glibc has given up.
const WAIT_SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.3, 0.5, 1.0, 2.0, 5.0];

/// What is read when somebody looks, not kept up to date by every query.
pub trait Gauges: fmt::Debug + Send + Sync + 'static {
    /// The values of now: name, help, number.
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)>;

    /// The same of what only grows.
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }

    /// The servers that are asked: the address, what it is, and whether it is asked in its turn.
    fn servers(&self) -> Vec<(String, Server, bool)> {
        Vec::new()
    }
}

/// Shows gauges in a registry.
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
        let help = "Whether a server is asked in its turn: 0 while it fails and is asked last";
        let mut family = encoder.encode_descriptor("upstream_up", help, None, MetricType::Gauge)?;
        for (address, server, is_up) in servers {
            let labels = [("address", address.as_str()), ("server", server.name())];
            shown(u64::from(is_up)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A number as the page shows it.
pub(crate) fn shown(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
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
            "podlocal_dns_upstream_unwanted_replies_total{reason=\"id\"} 0",
            "podlocal_dns_upstream_doubted_total 0",
            "podlocal_dns_tier_left_total{reason=\"silent\"} 0",
            "podlocal_dns_upstream_responses_total{server=\"tier\",rcode=\"refused\"} 0",
            "podlocal_dns_wait_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }
}
