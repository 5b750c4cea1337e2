//! What pods see of the servers of their forward zones.

use super::Kind::{Lines, Stacked};
use super::Unit::{Count, PerSecond, Seconds};
use super::{Panel, Row, line};

/// Whether a zone's servers are well.
pub(super) const FORWARD_ZONES: Row = Row {
    title: "Forward zones: servers that pods ask themselves",
    panels: &[
        Panel {
            title: "Zones without any server",
            description: "In how many proxies no server of the zone is known to answer. All of them: its servers, or the way to them. Cluster DNS has nothing to do with it.",
            kind: Lines,
            unit: Count,
            lines: &[line("sum by (zone) (podlocal_dns_forward_zone_unavailable{S})", "{{zone}}")],
        },
        Panel {
            title: "Servers of zones that proxies avoid",
            description: "Which server: in how many proxies it failed so often that it is asked after the others of its zone.",
            kind: Lines,
            unit: Count,
            lines: &[line(
                "sum by (zone, address) (1 - podlocal_dns_forward_zone_server_healthy{S})",
                "{{zone}} {{address}}",
            )],
        },
        Panel {
            title: "How attempts at zones end",
            description: "As for cluster DNS: silent and unreachable are the network or the server, failure is SERVFAIL, REFUSED and the like.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (zone, result) (rate(podlocal_dns_forward_zone_attempts_total{S}[R])) > 0",
                "{{zone}} {{result}}",
            )],
        },
        Panel {
            title: "What zones say",
            description: "Response codes by zone. After nxdomain the search list of the pod is tried, in the cluster.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (zone, rcode) (rate(podlocal_dns_forward_zone_responses_total{S}[R])) > 0",
                "{{zone}} {{rcode}}",
            )],
        },
        Panel {
            title: "How long zones take",
            description: "99 of 100 attempts that were not overtaken by another one.",
            kind: Lines,
            unit: Seconds,
            lines: &[line(
                "histogram_quantile(0.99, sum by (zone, le) (rate(podlocal_dns_forward_zone_attempt_duration_seconds_bucket{S}[R])))",
                "{{zone}}",
            )],
        },
        Panel {
            title: "Second attempts at zones",
            description: "Transmissions after a question's first, and those that the zone's retry budget did not allow.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line(
                    "sum by (zone) (rate(podlocal_dns_forward_zone_retransmissions_total{S}[R]))",
                    "{{zone}} hedges",
                ),
                line(
                    "sum by (zone) (rate(podlocal_dns_forward_zone_retry_budget_exhausted_total{S}[R]))",
                    "{{zone}} budget exhausted",
                ),
            ],
        },
    ],
};
