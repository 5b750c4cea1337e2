//! Panels of queries and of cluster DNS.

use super::Kind::{Lines, Stacked, Stat};
use super::Unit::{Count, PerSecond, Seconds, Share};
use super::{Panel, Row, line};

/// The state of DNS for the pods.
pub(super) const QUERIES: Row = Row {
    title: "Does DNS work?",
    panels: &[
        Panel {
            title: "Proxies",
            description: "Number of proxies that are scraped, with those of the shared tier.",
            kind: Stat(None),
            unit: Count,
            lines: &[line("count(podlocal_dns_build_info{S})", "")],
        },
        Panel {
            title: "Queries that fail",
            description: "Share of client queries that are answered SERVFAIL. NXDOMAIN is not a failure.",
            kind: Stat(Some(0.01)),
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_query_outcomes_total{outcome=~\"upstream_failed|over_limit|loop\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                "",
            )],
        },
        Panel {
            title: "Expired answers",
            description: "Share of client queries that get an expired answer: cluster DNS fails or is slow, and the pods do not notice yet.",
            kind: Stat(Some(0.01)),
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_query_outcomes_total{outcome=\"stale\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                "",
            )],
        },
        Panel {
            title: "Proxies without an available upstream",
            description: "Number of proxies that know no server that responds. All proxies: the cause is cluster DNS. The proxies of one node: the cause is the node.",
            kind: Stat(Some(1.0)),
            unit: Count,
            lines: &[line("sum(podlocal_dns_upstream_unavailable{S})", "")],
        },
        Panel {
            title: "Queries by outcome",
            description: "hit, impossible_name and nxdomain_cut need no upstream query; miss and coalesced wait for one; stale is an expired answer; upstream_failed, over_limit and loop are SERVFAIL.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (outcome) (rate(podlocal_dns_query_outcomes_total{S}[R])) > 0",
                "{{outcome}}",
            )],
        },
        Panel {
            title: "Failures by namespace",
            description: "Queries that are answered SERVFAIL or dropped by a rate limit. One namespace: look at its upstream and its limits. All namespaces: cluster DNS.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (namespace) (rate(podlocal_dns_query_outcomes_total{outcome=~\"upstream_failed|over_limit|loop|rate_limited\",S}[R]))",
                "{{namespace}}",
            )],
        },
        Panel {
            title: "Affected pods",
            description: "Number of pods that got a failure or an expired answer lately, and of proxies without an available upstream.",
            kind: Lines,
            unit: Count,
            lines: &[
                line(
                    "count(sum by (namespace, pod) (rate(podlocal_dns_query_outcomes_total{outcome=~\"upstream_failed|over_limit|loop|rate_limited\",S}[R])) > 0) or vector(0)",
                    "with failures",
                ),
                line(
                    "count(sum by (namespace, pod) (rate(podlocal_dns_query_outcomes_total{outcome=\"stale\",S}[R])) > 0) or vector(0)",
                    "with expired answers",
                ),
                line("sum(podlocal_dns_upstream_unavailable{S})", "without an upstream"),
            ],
        },
        Panel {
            title: "Waiting time of clients",
            description: "Without answers from the cache and from rules: they take microseconds and are not measured. After 0.4 s clients get an expired answer, after 4 s a failure.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_query_wait_duration_seconds_bucket{S}[R])))",
                    "99th percentile",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_query_wait_duration_seconds_bucket{S}[R])))",
                    "median",
                ),
            ],
        },
    ],
};

/// Cluster DNS, as the proxies see it.
pub(super) const CLUSTER_DNS: Row = Row {
    title: "Is it cluster DNS?",
    panels: &[
        Panel {
            title: "Response time of cluster DNS",
            description: "Duration of attempts, without superseded ones.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_upstream_attempt_duration_seconds_bucket{S}[R])))",
                    "99th percentile",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_upstream_attempt_duration_seconds_bucket{S}[R])))",
                    "median",
                ),
            ],
        },
        Panel {
            title: "Datagrams lost or late",
            description: "Share of attempts over UDP that timed out or were superseded by another attempt. A few percent: the network loses packets, or the queue of CoreDNS is full. All: CoreDNS is gone.",
            kind: Lines,
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_upstream_attempts_total{transport=\"udp\",result=~\"timeout|superseded\",S}[R])) / sum(rate(podlocal_dns_upstream_attempts_total{transport=\"udp\",S}[R]))",
                "lost or late",
            )],
        },
        Panel {
            title: "Attempts by result",
            description: "After truncated the proxy uses TCP; failure is SERVFAIL, REFUSED or a similar RCODE; unreachable is a closed port; superseded means that another attempt got the answer first.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (transport, result) (rate(podlocal_dns_upstream_attempts_total{S}[R])) > 0",
                "{{transport}} {{result}}",
            )],
        },
        Panel {
            title: "Responses by RCODE",
            description: "Responses of the upstream, without the shared tier. refused usually means that CoreDNS is at max_concurrent, servfail that the upstream of CoreDNS fails.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (rcode) (rate(podlocal_dns_upstream_responses_total{server=\"upstream\",S}[R])) > 0",
                "{{rcode}}",
            )],
        },
        Panel {
            title: "Retransmissions",
            description: "Retransmissions over UDP or TCP, retries that the retry budget did not allow, and health checks of the shared tier. Unwanted replies match no query in flight: they are late, or an attacker guesses.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum(rate(podlocal_dns_upstream_retransmissions_total{S}[R]))", "retransmissions"),
                line(
                    "sum(rate(podlocal_dns_upstream_retry_budget_exhausted_total{S}[R]))",
                    "retry budget exhausted",
                ),
                line("sum(rate(podlocal_dns_shared_tier_health_checks_total{S}[R]))", "health checks"),
                line("sum(rate(podlocal_dns_upstream_unwanted_replies_total{S}[R]))", "unwanted replies"),
            ],
        },
        Panel {
            title: "Ejected servers",
            description: "For each server, the number of proxies that have ejected it: they query it only after all others.",
            kind: Lines,
            unit: Count,
            lines: &[line(
                "sum by (address, server) (1 - podlocal_dns_upstream_healthy{S})",
                "{{server}} {{address}}",
            )],
        },
    ],
};
