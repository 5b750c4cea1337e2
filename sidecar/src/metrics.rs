//! The metrics of the sidecar. Label values are variants of enums, each present at zero from the start, or
//! addresses and forward zones of the settings; none comes from a packet or a pod. A metric is one row of [`Metrics`].
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units, and `_total` for counters. The
//! page is in Prometheus' text format 0.0.4, which every scraper reads and `promtool check metrics` checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use podlocal_settings::value::Role;
use podlocal_telemetry::{Count, Counters, Info, metrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod forward;
mod labels;
pub mod process;

pub use labels::*;

metrics! {
    /// Handles to every metric. They are cheap to clone.
    #[derive(Debug, Clone)]
    pub struct Metrics {
        pub queries: Counters<ByTransport> =
            "queries_total", "Messages received from clients";
        pub outcomes: Counters<Outcome> =
            "query_outcomes_total", "Messages received from clients, by outcome";
        pub(crate) wait_duration: Histogram =
            "query_wait_duration_seconds", "Time that clients waited for answers that were not in the cache, SERVFAIL included", WAIT_SECONDS;
        pub(crate) attempts: Counters<(ByTransport, AttemptResult)> =
            "upstream_attempts_total", "Attempts to get an answer from the shared tier or the upstream, by result";
        attempt_duration: Histogram =
            "upstream_attempt_duration_seconds", "Time from the transmission to the end of an attempt, without superseded attempts", ATTEMPT_SECONDS;
        pub(crate) responses: Counters<(Server, ResponseCode)> =
            "upstream_responses_total", "Responses of the shared tier and of the upstream, by RCODE";
        pub(crate) retransmissions: Count =
            "upstream_retransmissions_total", "Transmissions of a query after its first one";
        pub(crate) budget_exhausted: Count =
            "upstream_retry_budget_exhausted_total", "Retries that were not sent because the retry budget was empty";
        pub(crate) health_checks: Count =
            "shared_tier_health_checks_total", "Health checks of the shared tier";
        pub(crate) loops: Count =
            "upstream_loops_total", "Own upstream queries that came back to this process: the upstream leads back to it";
        pub(crate) spoofing_suspected: Count =
            "upstream_spoofing_suspected_total", "Queries that were sent again over TCP because a reply looked forged";
        pub(crate) upstream_connections: Counters<Origin> =
            "upstream_tcp_connections_total", "TCP connections over which queries were sent upstream, by origin";
        pub(crate) unwanted_replies: Counters<Unwanted> =
            "upstream_unwanted_replies_total", "Replies from the address of an upstream that match no query in flight, by mismatch";
        pub(crate) fallbacks: Counters<FallbackReason> =
            "shared_tier_fallbacks_total", "Exchanges that fell back from a server of the shared tier to the next server";
        pub(crate) background_queries: Counters<BackgroundQuery> =
            "background_queries_total", "Searches and queries that the sidecar starts in addition to the queries of clients";
        pub(crate) limits: Counters<Limit> =
            "limits_reached_total", "Times that a limit was reached";
        pub(crate) panics: Count =
            "panics_total", "Panics of tasks, after which the process continued";
    }
}

/// The buckets of the histogram of attempts: from a fast cluster DNS to a very slow one.
const ATTEMPT_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 2.0, 4.0];

/// The buckets of the histogram of waits: a lost query is retransmitted after 0.1 s, an expired answer is
/// sent after 0.4 s, and glibc times out after 5 s.
const WAIT_SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.3, 0.5, 1.0, 2.0, 5.0];

impl Metrics {
    /// Every series at zero, and the registry that prints them with the prefix `podlocal_dns_`.
    pub fn new() -> (Self, Registry) {
        let (metrics, mut registry) = (Self::default(), Registry::with_prefix("podlocal_dns"));
        metrics.register(&mut registry);
        (metrics, registry)
    }

    /// Registers the metric that has the version and the role as labels.
    pub fn register_build(registry: &mut Registry, role: Role) {
        let build = Info([("version", env!("CARGO_PKG_VERSION")), ("role", role.name())]);
        let help = "Always 1; the labels are the version and the role of the program";
        registry.register("build_info", help, build);
    }

    /// Counts an attempt. A superseded one is cancelled, so its duration says nothing and is not observed.
    pub(crate) fn attempt(&self, transport: Transport, result: AttemptResult, took: Duration) {
        self.attempts.inc((ByTransport(transport), result));
        if result != AttemptResult::Superseded {
            self.attempt_duration.observe(took.as_secs_f64());
        }
    }
}

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
            encoder.encode_descriptor(name, help, None, kind)?.encode_gauge(&value)?;
        }
        let servers = self.0.servers();
        if servers.is_empty() {
            return Ok(());
        }
        let help = "1 while the server is healthy, 0 while it is ejected";
        let mut family = encoder.encode_descriptor("upstream_healthy", help, None, MetricType::Gauge)?;
        for (address, server, is_healthy) in servers {
            let labels = [("address", address.as_str()), ("server", server.label())];
            family.encode_family(&labels)?.encode_gauge(&u64::from(is_healthy))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_starts_at_zero() {
        let (metrics, registry) = Metrics::new();
        metrics.outcomes.inc(Outcome::Coalesced);
        metrics.attempt(Transport::Tcp, AttemptResult::Timeout, Duration::from_secs(1));
        let text = podlocal_telemetry::page(&registry);
        for line in [
            "podlocal_dns_query_outcomes_total{outcome=\"coalesced\"} 1",
            "podlocal_dns_query_outcomes_total{outcome=\"over_limit\"} 0",
            "podlocal_dns_upstream_attempts_total{transport=\"tcp\",result=\"timeout\"} 1",
            "podlocal_dns_upstream_attempts_total{transport=\"udp\",result=\"superseded\"} 0",
            "podlocal_dns_upstream_attempt_duration_seconds_count 1",
            "podlocal_dns_upstream_retransmissions_total 0",
            "podlocal_dns_upstream_responses_total{server=\"shared_tier\",rcode=\"refused\"} 0",
            "podlocal_dns_query_wait_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }
}
