//! Panels of the webhook.

use super::Kind::{Lines, Stacked};
use super::Unit::{Count, PerSecond, Seconds};
use super::{Panel, Row, line};

/// The injection of new pods.
pub(super) const REVIEWS: Row = Row {
    title: "Are new pods injected?",
    panels: &[
        Panel {
            title: "Admission reviews",
            description: "Reviews by decision. failed: the pod starts without the sidecar.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line("sum by (decision) (rate(podlocal_webhook_reviews_total[R])) > 0", "{{decision}}")],
        },
        Panel {
            title: "Reasons for no injection",
            description: "Reasons of reviews without an injection. The admission warning and an Event of the pod's controller explain them.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (decision, reason) (rate(podlocal_webhook_reviews_total{decision=~\"skipped|failed\"}[R])) > 0",
                "{{decision}}: {{reason}}",
            )],
        },
        Panel {
            title: "Duration of reviews",
            description: "The API server times out after 5 s, and then lets the pod start without the sidecar.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_webhook_review_duration_seconds_bucket[R])))",
                    "99th percentile",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_webhook_review_duration_seconds_bucket[R])))",
                    "median",
                ),
            ],
        },
        Panel {
            title: "Time until the certificate expires",
            description: "It is renewed 30 days before it expires. After it has expired, the API server does not trust the webhook, and pods start without the sidecar.",
            kind: Lines,
            unit: Seconds,
            lines: &[line(
                "min((podlocal_webhook_certificate_expiry_timestamp_seconds > 0) - time())",
                "first certificate to expire",
            )],
        },
        Panel {
            title: "Failures of background tasks",
            description: "Failed tasks, Events that were not published, failed checks of cluster DNS, ignored settings of pods, and connections that were closed because of a limit.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum by (task) (rate(podlocal_webhook_task_failures_total[R]))", "{{task}}"),
                line("sum(rate(podlocal_webhook_events_total{result=~\"failed|dropped\"}[R]))", "events"),
                line(
                    "sum(rate(podlocal_webhook_cluster_dns_checks_total{result=\"failed\"}[R]))",
                    "checks of cluster DNS",
                ),
                line("sum(rate(podlocal_webhook_settings_ignored_total[R]))", "ignored settings"),
                line(
                    "sum by (reason) (rate(podlocal_webhook_connections_closed_total[R]))",
                    "connections closed: {{reason}}",
                ),
            ],
        },
        Panel {
            title: "Versions",
            description: "Number of running programs by version: a pod keeps its version until it is recreated. shared tier addresses: the number that new sidecars get.",
            kind: Lines,
            unit: Count,
            lines: &[
                line("count by (version, role) (podlocal_dns_build_info)", "{{role}} {{version}}"),
                line("count by (version) (podlocal_webhook_build_info)", "webhook {{version}}"),
                line("max(podlocal_webhook_shared_tier_addresses)", "shared tier addresses"),
            ],
        },
    ],
};
