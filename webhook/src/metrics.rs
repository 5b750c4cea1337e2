//! The metrics of the webhook, in Prometheus' text format 0.0.4. Label values are variants of enums, each
//! present at zero from the start.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::review::admission::Reviewed;
use crate::review::outcome::ReviewOutcome;

mod count;

use count::Count;

/// The prefix of every metric's name.
const PREFIX: &str = "podlocal_webhook";

/// From 50 µs, a parse and a few edits, to the API server's time-out.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// The webhook's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Count>,
    review_duration: Histogram,
    ignored_settings: Count,
    events: Family<ResultLabels, Count>,
    dns_checks: Family<ResultLabels, Count>,
    shared_tier_addresses: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
    failures: Family<TaskLabels, Count>,
    closed: Family<ReasonLabels, Count>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// A background task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Renews or reads the certificate and publishes its CA.
    Certificate,
    /// Watches namespaces and LimitRanges.
    Namespaces,
    /// Watches the Services of the shared tier.
    SharedTier,
    /// Reads the version of the API server.
    ServerVersion,
}

/// The result of an Event for the owner of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// The API server stored it.
    Published,
    /// The API server refused it, or did not respond.
    Failed,
    /// There were too many Events.
    Dropped,
    /// The namespace may not get Events: it has not opted in, and any client could have sent the review.
    NamespaceNotAllowed,
}

/// The limit because of which a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The number of connections.
    TooManyConnections,
    /// The memory of unfinished requests.
    TooManyBytes,
}

/// The result of a query to cluster DNS for names that cannot exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsCheck {
    /// NXDOMAIN: sidecars may answer NXDOMAIN themselves.
    NxDomain,
    /// NOERROR: sidecars must forward such queries.
    Answered,
    /// No response, or another RCODE.
    Failed,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let reviews = Family::default();
        registry.register("reviews_total", "Admission reviews, by decision and reason", reviews.clone());
        for outcome in ReviewOutcome::all() {
            let _: &Count = &reviews.get_or_create(&ReviewLabels::of(outcome));
        }
        let review_duration = Histogram::new(DURATION_BUCKETS);
        registry.register(
            "review_duration_seconds",
            "Time from the last byte of a review to its response",
            review_duration.clone(),
        );
        let ignored_settings = Count::default();
        registry.register(
            "settings_ignored_total",
            "Settings of pods that were ignored because their name is unknown or their value invalid",
            ignored_settings.clone(),
        );
        let events = Family::default();
        registry.register("events_total", "Events for the owners of pods, by result", events.clone());
        for result in EventResult::ALL {
            let _: &Count = &events.get_or_create(&result.labels());
        }
        let dns_checks = Family::default();
        registry.register(
            "cluster_dns_checks_total",
            "Queries to cluster DNS for names that cannot exist, by result",
            dns_checks.clone(),
        );
        for result in [DnsCheck::NxDomain, DnsCheck::Answered, DnsCheck::Failed] {
            let _: &Count = &dns_checks.get_or_create(&result.labels());
        }
        let shared_tier_addresses = Gauge::default();
        registry.register(
            "shared_tier_addresses",
            "Addresses of the shared tier that new sidecars get; 0 while they get none",
            shared_tier_addresses.clone(),
        );
        let certificate_expiry = Gauge::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Expiry of the serving certificate in Unix time; 0 without a certificate",
            certificate_expiry.clone(),
        );
        let failures = Family::default();
        registry.register(
            "task_failures_total",
            "Failures of background tasks, which are retried",
            failures.clone(),
        );
        for task in Task::ALL {
            let _: &Count = &failures.get_or_create(&task.labels());
        }
        let closed = Family::default();
        registry.register(
            "connections_closed_total",
            "Connections that were closed because a limit was reached",
            closed.clone(),
        );
        for reason in [Closed::TooManyConnections, Closed::TooManyBytes] {
            let _: &Count = &closed.get_or_create(&reason.labels());
        }
        let build = Family::<_, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "Always 1; the label is the version of the program", build);
        Self {
            registry,
            reviews,
            review_duration,
            ignored_settings,
            events,
            dns_checks,
            shared_tier_addresses,
            certificate_expiry,
            failures,
            closed,
        }
    }

    /// Counts a review, its duration and its ignored settings.
    pub fn record_review(&self, reviewed: &Reviewed, took: Duration) {
        self.reviews.get_or_create(&ReviewLabels::of(reviewed.outcome)).inc();
        self.review_duration.observe(took.as_secs_f64());
        self.ignored_settings.inc_by(reviewed.ignored as u64);
    }

    /// Counts an Event.
    pub fn record_event(&self, result: EventResult) {
        self.events.get_or_create(&result.labels()).inc();
    }

    /// Counts a query for names that cannot exist.
    pub fn record_dns_check(&self, result: DnsCheck) {
        self.dns_checks.get_or_create(&result.labels()).inc();
    }

    /// Sets the number of addresses of the shared tier that new sidecars get.
    pub fn set_shared_tier_addresses(&self, addresses: usize) {
        self.shared_tier_addresses.set(i64::try_from(addresses).unwrap_or(i64::MAX));
    }

    /// Sets the expiry of the serving certificate, in seconds of Unix time.
    pub fn set_certificate_expiry(&self, at: u64) {
        self.certificate_expiry.set(at as f64);
    }

    /// Counts a failure of a task.
    pub fn record_task_failure(&self, task: Task) {
        self.failures.get_or_create(&task.labels()).inc();
    }

    /// Counts connections that were closed because of a limit.
    pub fn record_closed_connections(&self, reason: Closed, connections: usize) {
        self.closed.get_or_create(&reason.labels()).inc_by(connections as u64);
    }

    /// The page of `/metrics`.
    pub fn page(&self) -> String {
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

impl ReviewLabels {
    fn of(outcome: ReviewOutcome) -> Self {
        let (decision, reason) = outcome.labels();
        Self { decision, reason }
    }
}

impl Task {
    const ALL: [Self; 4] = [Self::Certificate, Self::Namespaces, Self::SharedTier, Self::ServerVersion];

    fn labels(self) -> TaskLabels {
        let task = match self {
            Self::Certificate => "certificate",
            Self::Namespaces => "namespaces",
            Self::SharedTier => "shared_tier",
            Self::ServerVersion => "server_version",
        };
        TaskLabels { task }
    }
}

impl Closed {
    fn labels(self) -> ReasonLabels {
        let reason = match self {
            Self::TooManyConnections => "connection_limit",
            Self::TooManyBytes => "memory_limit",
        };
        ReasonLabels { reason }
    }
}

impl EventResult {
    const ALL: [Self; 4] = [Self::Published, Self::Failed, Self::Dropped, Self::NamespaceNotAllowed];

    fn labels(self) -> ResultLabels {
        let result = match self {
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::NamespaceNotAllowed => "namespace_not_allowed",
        };
        ResultLabels { result }
    }
}

impl DnsCheck {
    fn labels(self) -> ResultLabels {
        let result = match self {
            Self::NxDomain => "nxdomain",
            Self::Answered => "answered",
            Self::Failed => "failed",
        };
        ResultLabels { result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
