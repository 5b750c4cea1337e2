//! What pods and cluster DNS notice.

use super::Kind::{Lines, Stacked, Stat};
use super::Unit::{Count, PerSecond, Seconds, Share};
use super::{Panel, Row, line};

/// Whether DNS is well.
pub(super) const LOOK_UPS: Row = Row {
    title: "Is DNS well?",
    panels: &[
        Panel {
            title: "Proxies",
            description: "How many proxies are scraped, shared tiers included.",
            kind: Stat(None),
            unit: Count,
            lines: &[line("count(podlocal_dns_build_info{S})", "")],
        },
        Panel {
            title: "Look-ups that fail",
            description: "The share of messages from clients that end in SERVFAIL. Names that do not exist are no failure.",
            kind: Stat(Some(0.01)),
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_query_outcomes_total{outcome=~\"upstream_failed|over_limit|loop\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                "",
            )],
        },
        Panel {
            title: "Answers that are expired",
            description: "The share of messages that are answered with what was right before: cluster DNS fails, and the pods do not notice yet.",
            kind: Stat(Some(0.01)),
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_query_outcomes_total{outcome=\"stale\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                "",
            )],
        },
        Panel {
            title: "Proxies without any upstream",
            description: "How many proxies know of no server that answers. All of them: it is cluster DNS. Those of one node: it is the node.",
            kind: Stat(Some(1.0)),
            unit: Count,
            lines: &[line("sum(podlocal_dns_upstream_unavailable{S})", "")],
        },
        Panel {
            title: "How look-ups end",
            description: "Messages from clients by how they ended. hit, impossible and below_missing cost no packet beyond the pod; miss and joined wait for one; stale is an expired answer; failed, overload and loop are SERVFAIL.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (outcome) (rate(podlocal_dns_query_outcomes_total{S}[R])) > 0",
                "{{outcome}}",
            )],
        },
        Panel {
            title: "Failures by namespace",
            description: "SERVFAIL, and silence for who floods. One namespace: look at its upstream and its limits. All: cluster DNS.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (namespace) (rate(podlocal_dns_query_outcomes_total{outcome=~\"upstream_failed|over_limit|loop|rate_limited\",S}[R]))",
                "{{namespace}}",
            )],
        },
        Panel {
            title: "Pods in trouble",
            description: "How many pods got a failure or an expired answer lately, and how many proxies have no upstream.",
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
                line("sum(podlocal_dns_upstream_unavailable{S})", "without upstream"),
            ],
        },
        Panel {
            title: "How long clients wait for what is not known",
            description: "Hits and local answers are not in it: they take microseconds, and no clock is read for them. 0.4 s is an expired answer, 4 s a failure.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_query_wait_duration_seconds_bucket{S}[R])))",
                    "99 of 100",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_query_wait_duration_seconds_bucket{S}[R])))",
                    "half of them",
                ),
            ],
        },
    ],
};

/// Whether it is cluster DNS.
pub(super) const CLUSTER_DNS: Row = Row {
    title: "Is it cluster DNS? What the pods see of it",
    panels: &[
        Panel {
            title: "How long cluster DNS takes",
            description: "Of attempts that were not overtaken by another one.",
            kind: Lines,
            unit: Seconds,
            lines: &[
                line(
                    "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_upstream_attempt_duration_seconds_bucket{S}[R])))",
                    "99 of 100",
                ),
                line(
                    "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_upstream_attempt_duration_seconds_bucket{S}[R])))",
                    "half of them",
                ),
            ],
        },
        Panel {
            title: "Datagrams that are lost or late",
            description: "The share of attempts by UDP that another attempt overtook, or that nobody answered. A few in a hundred: a lossy network or a full queue of CoreDNS. All: it is gone.",
            kind: Lines,
            unit: Share,
            lines: &[line(
                "sum(rate(podlocal_dns_upstream_attempts_total{transport=\"udp\",result=~\"timeout|superseded\",S}[R])) / sum(rate(podlocal_dns_upstream_attempts_total{transport=\"udp\",S}[R]))",
                "lost or late",
            )],
        },
        Panel {
            title: "How attempts end",
            description: "truncated is followed by TCP; failure is SERVFAIL, REFUSED and the like; unreachable is a closed port; overtaken lost against another attempt.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (transport, result) (rate(podlocal_dns_upstream_attempts_total{S}[R])) > 0",
                "{{transport}} {{result}}",
            )],
        },
        Panel {
            title: "What it says",
            description: "Response codes of the upstream, without the shared tier. refused mostly means that CoreDNS is at max_concurrent; servfail, that its own upstream fails.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (rcode) (rate(podlocal_dns_upstream_responses_total{server=\"upstream\",S}[R])) > 0",
                "{{rcode}}",
            )],
        },
        Panel {
            title: "Second attempts",
            description: "Hedges by UDP or TCP, those that the retry budget did not allow, and probes of servers that are down. Unwanted replies answer no question that is under way: late ones, or somebody guesses.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum(rate(podlocal_dns_upstream_retransmissions_total{S}[R]))", "hedges"),
                line(
                    "sum(rate(podlocal_dns_upstream_retry_budget_exhausted_total{S}[R]))",
                    "budget exhausted",
                ),
                line("sum(rate(podlocal_dns_shared_tier_health_checks_total{S}[R]))", "probes"),
                line("sum(rate(podlocal_dns_upstream_unwanted_replies_total{S}[R]))", "unwanted replies"),
            ],
        },
        Panel {
            title: "Proxies that avoid a server",
            description: "Which server: in how many proxies it failed so often that it is asked after all others.",
            kind: Lines,
            unit: Count,
            lines: &[line(
                "sum by (address, server) (1 - podlocal_dns_upstream_healthy{S})",
                "{{server}} {{address}}",
            )],
        },
    ],
};
