//! What is counted, in the text format of OpenMetrics. Every label is a closed enum, present at zero.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::admission::{Reviewed, Verdict};

/// The prefix of every metric's name.
const PREFIX: &str = "podlocal_webhook";

/// From 50 µs, a parse and a few edits, to the API server's time-out.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// The webhook's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    review_duration: Histogram,
    ignored_settings: Counter,
    events: Family<ResultLabels, Counter>,
    dns_checks: Family<ResultLabels, Counter>,
    shared_tier_addresses: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
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

/// What became of a notice for an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// The API server has it.
    Published,
    /// The API server refused it or did not answer.
    Failed,
    /// There were too many.
    Dropped,
}

/// What the cluster's DNS said of a name that cannot exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsCheck {
    /// That there is none: sidecars may say so themselves.
    Missing,
    /// Something else: they must not.
    Served,
    /// Nothing that tells.
    Failed,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let reviews = Family::default();
        registry.register("reviews", "Admission reviews by what was done and why", reviews.clone());
        for verdict in Verdict::all() {
            let _: &Counter = &reviews.get_or_create(&ReviewLabels::of(verdict));
        }
        let review_duration = Histogram::new(DURATION_BUCKETS);
        registry.register_with_unit(
            "review_duration",
            "Time from the whole body of a review to its answer",
            Unit::Seconds,
            review_duration.clone(),
        );
        let ignored_settings = Counter::default();
        registry.register(
            "ignored_settings",
            "Settings of pods that were ignored because their value is bad or their name unknown",
            ignored_settings.clone(),
        );
        let events = Family::default();
        registry.register("events", "Events for the owners of pods, by what became of them", events.clone());
        for result in [EventResult::Published, EventResult::Failed, EventResult::Dropped] {
            let _: &Counter = &events.get_or_create(&result.labels());
        }
        let dns_checks = Family::default();
        registry.register(
            "cluster_dns_checks",
            "Questions to the cluster's DNS for a name that cannot exist, by what it said",
            dns_checks.clone(),
        );
        for result in [DnsCheck::Missing, DnsCheck::Served, DnsCheck::Failed] {
            let _: &Counter = &dns_checks.get_or_create(&result.labels());
        }
        let shared_tier_addresses = Gauge::default();
        registry.register(
            "shared_tier_addresses",
            "Addresses of the shared tier that new pods are told of; 0 while they are told of none",
            shared_tier_addresses.clone(),
        );
        let certificate_expiry = Gauge::default();
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the serving certificate ends, in Unix time; 0 while there is none",
            Unit::Seconds,
            certificate_expiry.clone(),
        );
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            reviews,
            review_duration,
            ignored_settings,
            events,
            dns_checks,
            shared_tier_addresses,
            certificate_expiry,
        }
    }

    /// Counts one answered review.
    pub fn reviewed(&self, reviewed: &Reviewed, took: Duration) {
        self.reviews.get_or_create(&ReviewLabels::of(reviewed.verdict)).inc();
        self.review_duration.observe(took.as_secs_f64());
        self.ignored_settings.inc_by(reviewed.ignored as u64);
    }

    /// Counts one notice for an owner.
    pub fn event(&self, result: EventResult) {
        self.events.get_or_create(&result.labels()).inc();
    }

    /// Counts one question for a name that cannot exist.
    pub fn dns_check(&self, result: DnsCheck) {
        self.dns_checks.get_or_create(&result.labels()).inc();
    }

    /// Notes how many addresses of the shared tier new pods are told of.
    pub fn shared_tier(&self, addresses: usize) {
        self.shared_tier_addresses.set(i64::try_from(addresses).unwrap_or(i64::MAX));
    }

    /// Notes when the certificate that is served ends, in seconds of Unix time.
    pub fn certificate_expires(&self, at: u64) {
        self.certificate_expiry.set(at as f64);
    }

    /// The page of `/metrics`.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ReviewLabels {
    fn of(verdict: Verdict) -> Self {
        let (decision, reason) = verdict.labels();
        Self { decision, reason }
    }
}

impl EventResult {
    fn labels(self) -> ResultLabels {
        let result = match self {
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        };
        ResultLabels { result }
    }
}

impl DnsCheck {
    fn labels(self) -> ResultLabels {
        let result = match self {
            Self::Missing => "missing",
            Self::Served => "served",
            Self::Failed => "failed",
        };
        ResultLabels { result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_present_at_zero_with_its_own_labels() {
        let page = Metrics::new().page();
        let lines = page.lines().filter(|line| line.starts_with("podlocal_webhook_reviews_total{"));
        let lines: std::collections::BTreeSet<_> = lines.collect();
        assert_eq!(lines.len(), Verdict::all().count(), "{page}");
        assert!(lines.iter().all(|line| line.ends_with(" 0")), "{page}");
    }

    #[test]
    fn names_carry_their_units() {
        let page = Metrics::new().page();
        for name in [
            "podlocal_webhook_review_duration_seconds_bucket{",
            "podlocal_webhook_certificate_expiry_timestamp_seconds 0",
            "podlocal_webhook_ignored_settings_total 0",
            "podlocal_webhook_shared_tier_addresses 0",
            "podlocal_webhook_build_info{version=",
        ] {
            assert!(page.contains(name), "{name} is not in\n{page}");
        }
    }
}
