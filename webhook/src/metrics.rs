//! The metrics of the webhook, in Prometheus' text format 0.0.4. A metric is one row of [`Metrics`].

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::labels::named;
use crate::review::outcome::ReviewOutcome;

mod count;
mod kinds;

use count::Count;
use kinds::{Counters, Durations, metrics};

/// The prefix of every metric's name.
const PREFIX: &str = "podlocal_webhook";

metrics! {
    /// The webhook's metrics. Each row is the field for callers, the kind, the name without the prefix, and
    /// the help text.
    #[derive(Debug)]
    pub struct Metrics {
        reviews: Counters<ReviewOutcome> =
            "reviews_total", "Admission reviews, by decision and reason";
        review_duration: Durations =
            "review_duration_seconds", "Time from the last byte of a review to its response";
        settings_ignored: Count =
            "settings_ignored_total", "Settings of pods that were ignored because their name is unknown or their value invalid";
        events: Counters<EventResult> =
            "events_total", "Events for the owners of pods, by result";
        cluster_dns_checks: Counters<DnsCheck> =
            "cluster_dns_checks_total", "Queries to cluster DNS for names that cannot exist, by result";
        shared_tier_addresses: Gauge =
            "shared_tier_addresses", "Addresses of the shared tier that new sidecars get; 0 while they get none";
        certificate_expiry: Gauge<f64, AtomicU64> =
            "certificate_expiry_timestamp_seconds", "Expiry of the serving certificate in Unix time; 0 without a certificate";
        task_failures: Counters<Task> =
            "task_failures_total", "Failures of background tasks, which are retried";
        connections_closed: Counters<Closed> =
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

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        Self::registered(Registry::with_prefix(PREFIX), |registry| {
            let build = Family::<_, Gauge>::default();
            build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
            registry.register("build_info", "Always 1; the label is the version of the program", build);
        })
    }

    /// The page of `/metrics`.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut page, &self.registry);
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels as _;

    #[test]
    fn every_verdict_starts_at_zero_with_its_own_labels() {
        let page = Metrics::new().page();
        let lines = page.lines().filter(|line| line.starts_with("podlocal_webhook_reviews_total{"));
        let lines: std::collections::BTreeSet<_> = lines.collect();
        assert_eq!(lines.len(), ReviewOutcome::all().count(), "{page}");
        assert!(lines.iter().all(|line| line.ends_with(" 0")), "{page}");
    }

    #[test]
    fn names_carry_their_units() {
        let page = Metrics::new().page();
        for name in [
            "podlocal_webhook_review_duration_seconds_bucket{",
            "podlocal_webhook_certificate_expiry_timestamp_seconds 0",
            "podlocal_webhook_settings_ignored_total 0",
            "podlocal_webhook_shared_tier_addresses 0",
            "podlocal_webhook_build_info{version=",
            "podlocal_webhook_task_failures_total{task=\"certificate\"} 0",
        ] {
            assert!(page.contains(name), "{name} is not in\n{page}");
        }
    }
}
