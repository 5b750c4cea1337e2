//! Panels of forward zones.

use super::Kind::{Lines, Stacked};
use super::Unit::{Count, PerSecond, Seconds};
use super::{Panel, Row, line};

/// The servers of forward zones, as the proxies see them.
pub(super) const FORWARD_ZONES: Row = Row {
    title: "Forward zones",
    panels: &[
        Panel {
            title: "Zones without an available server",
            description: "For each zone, the number of proxies that know no server of it that responds. All proxies: the cause is the servers or the network to them. Cluster DNS is not involved.",
            kind: Lines,
            unit: Count,
            lines: &[line("sum by (zone) (podlocal_dns_forward_zone_unavailable{S})", "{{zone}}")],
        },
        Panel {
            title: "Ejected servers of zones",
            description: "For each server, the number of proxies that have ejected it: they query it only after the other servers of the zone.",
            kind: Lines,
            unit: Count,
            lines: &[line(
                "sum by (zone, address) (1 - podlocal_dns_forward_zone_server_healthy{S})",
                "{{zone}} {{address}}",
            )],
        },
        Panel {
            title: "Attempts at zones by result",
            description: "As for cluster DNS: timeout and unreachable are problems of the network or the server, failure is SERVFAIL, REFUSED or a similar RCODE.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (zone, result) (rate(podlocal_dns_forward_zone_attempts_total{S}[R])) > 0",
                "{{zone}} {{result}}",
            )],
        },
        Panel {
            title: "Responses of zones by RCODE",
            description: "After nxdomain the proxy tries the search list of the pod, in the cluster.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (zone, rcode) (rate(podlocal_dns_forward_zone_responses_total{S}[R])) > 0",
                "{{zone}} {{rcode}}",
            )],
        },
        Panel {
            title: "Response time of zones",
            description: "99th percentile of the duration of attempts, without superseded ones.",
            kind: Lines,
            unit: Seconds,
            lines: &[line(
                "histogram_quantile(0.99, sum by (zone, le) (rate(podlocal_dns_forward_zone_attempt_duration_seconds_bucket{S}[R])))",
                "{{zone}}",
            )],
        },
        Panel {
            title: "Retransmissions to zones",
            description: "Retransmissions, and retries that the retry budget of the zone did not allow.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line(
                    "sum by (zone) (rate(podlocal_dns_forward_zone_retransmissions_total{S}[R]))",
                    "{{zone}} retransmissions",
                ),
                line(
                    "sum by (zone) (rate(podlocal_dns_forward_zone_retry_budget_exhausted_total{S}[R]))",
                    "{{zone}} retry budget exhausted",
                ),
            ],
        },
    ],
};
