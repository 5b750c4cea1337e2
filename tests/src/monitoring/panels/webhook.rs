//! What the webhook does.

use super::Kind::{Lines, Stacked};
use super::Unit::{Count, PerSecond, Seconds};
use super::{Panel, Row, line};

/// Whether new pods are injected.
pub(super) const REVIEWS: Row = Row {
    title: "Are new pods injected? The webhook",
    panels: &[
        Panel {
            title: "Reviews",
            description: "By decision. failed: the pod starts without the proxy.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line("sum by (decision) (rate(podlocal_webhook_reviews_total[R])) > 0", "{{decision}}")],
        },
        Panel {
            title: "Why pods are not injected",
            description: "Reasons of reviews that end without an injection. The admission warning and an Event of the pod's controller say them in a sentence.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (decision, reason) (rate(podlocal_webhook_reviews_total{decision=~\"skipped|failed\"}[R])) > 0",
                "{{decision}}: {{reason}}",
            )],
        },
        Panel {
            title: "How long a review takes",
            description: "The API server waits for 5 s, and then lets the pod start without the proxy.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_webhook_review_duration_seconds_bucket[R])))",
                    "99 of 100",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_webhook_review_duration_seconds_bucket[R])))",
                    "half of them",
                ),
            ],
        },
        Panel {
            title: "The certificate's time left",
            description: "It is renewed 30 days before its end. After it the API server does not believe the webhook, and pods start without the proxy.",
            kind: Lines,
            unit: Seconds,
            lines: &[line(
                "min((podlocal_webhook_certificate_expiry_timestamp_seconds > 0) - time())",
                "the first that ends",
            )],
        },
        Panel {
            title: "What fails beside the reviews",
            description: "Calls of the API server by what they are for, Events that were not published, checks of cluster DNS, settings of pods that were ignored.",
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
                    "closed: too many {{reason}}",
                ),
            ],
        },
        Panel {
            title: "Versions",
            description: "How many programs run in which version: pods keep theirs until they are created anew. tier addresses: of how many new pods are told.",
            kind: Lines,
            unit: Count,
            lines: &[
                line("count by (version, role) (podlocal_dns_build_info)", "{{role}} {{version}}"),
                line("count by (version) (podlocal_webhook_build_info)", "webhook {{version}}"),
                line("max(podlocal_webhook_shared_tier_addresses)", "tier addresses"),
            ],
        },
    ],
};
