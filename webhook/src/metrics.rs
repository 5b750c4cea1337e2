//! The metrics of the webhook, in Prometheus' text format 0.0.4. A metric is one row of [`Metrics`].

use std::sync::atomic::AtomicU64;

use podlocal_telemetry::{Count, Counters, Info, metrics, named};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::review::outcome::ReviewOutcome;

metrics! {
    /// The webhook's metrics.
    #[derive(Debug)]
    pub struct Metrics {
        pub(crate) reviews: Counters<ReviewOutcome> =
            "reviews_total", "Admission reviews, by decision and reason";
        pub(crate) review_duration: Histogram =
            "review_duration_seconds", "Time from the last byte of a review to its response", REVIEW_SECONDS;
        pub(crate) settings_ignored: Count =
            "settings_ignored_total", "Settings of pods that were ignored because their name is unknown or their value invalid";
        pub(crate) events: Counters<EventResult> =
            "events_total", "Events for the owners of pods, by result";
        pub(crate) cluster_dns_checks: Counters<DnsCheck> =
            "cluster_dns_checks_total", "Queries to cluster DNS for names that cannot exist, by result";
        pub(crate) shared_tier_addresses: Gauge =
            "shared_tier_addresses", "Addresses of the shared tier that new sidecars get; 0 while they get none";
        pub(crate) certificate_expiry: Gauge<f64, AtomicU64> =
            "certificate_expiry_timestamp_seconds", "Expiry of the serving certificate in Unix time; 0 without a certificate";
        pub(crate) task_failures: Counters<Task> =
            "task_failures_total", "Failures of background tasks, which are retried";
        pub(crate) connections_closed: Counters<Closed> =
            "connections_closed_total", "Connections that were closed because a limit was reached";
    }
}

named! {
    /// A background task.
    pub(crate) enum Task as "task" {
        /// Renews or reads the certificate and publishes its CA.
        Certificate = "certificate",
        /// Watches namespaces and LimitRanges.
        Namespaces = "namespaces",
        /// Watches the Services of the shared tier.
        SharedTier = "shared_tier",
        /// Reads the version of the API server.
        ServerVersion = "server_version",
    }
}

named! {
    /// The result of an Event for the owner of a pod.
    pub(crate) enum EventResult as "result" {
        /// The API server stored it.
        Published = "published",
        /// The API server refused it, or did not respond.
        Failed = "failed",
        /// There were too many Events.
        Dropped = "dropped",
        /// The namespace may not get Events: it has not opted in, and any client could have sent the review.
        NamespaceNotAllowed = "namespace_not_allowed",
    }
}

named! {
    /// The limit because of which a connection was closed.
    pub(crate) enum Closed as "reason" {
        /// The number of connections.
        TooManyConnections = "connection_limit",
        /// The memory of unfinished requests.
        TooManyBytes = "memory_limit",
    }
}

named! {
    /// The result of a query to cluster DNS for names that cannot exist.
    pub(crate) enum DnsCheck as "result" {
        /// NXDOMAIN: sidecars may answer NXDOMAIN themselves.
        NxDomain = "nxdomain",
        /// NOERROR: sidecars must forward such queries.
        Answered = "answered",
        /// No response, or another RCODE.
        Failed = "failed",
    }
}

/// From 50 µs, a parse and a few edits, to the API server's time-out.
const REVIEW_SECONDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

impl Metrics {
    /// The page of `/metrics`.
    pub(crate) fn page(&self) -> String {
        let mut registry = Registry::with_prefix("podlocal_webhook");
        self.register(&mut registry);
        let build = Info([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build_info", "Always 1; the label is the version of the program", build);
        podlocal_telemetry::page(&registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_telemetry::Labels as _;

    #[test]
    fn every_verdict_starts_at_zero_with_its_own_labels() {
        let page = Metrics::default().page();
        let lines = page.lines().filter(|line| line.starts_with("podlocal_webhook_reviews_total{"));
        let lines: std::collections::BTreeSet<_> = lines.collect();
        assert_eq!(lines.len(), ReviewOutcome::all().count(), "{page}");
        assert!(lines.iter().all(|line| line.ends_with(" 0")), "{page}");
    }
}
