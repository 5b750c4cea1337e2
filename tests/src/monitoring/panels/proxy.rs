//! What the proxies do, and what bounds them.

use super::Kind::{Lines, Stacked};
use super::Unit::{Bytes, Count, PerSecond, Share};
use super::{Panel, Row, line};

/// What cluster DNS is spared.
pub(super) const SAVED: Row = Row {
    title: "What cluster DNS is spared",
    panels: &[
        Panel {
            title: "Look-ups without a packet beyond the pod",
            description: "The share that is answered by the cache, by the rules for impossible names, or by an exchange that was under way.",
            kind: Stacked,
            unit: Share,
            lines: &[
                line(
                    "sum(rate(podlocal_dns_query_outcomes_total{outcome=\"hit\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                    "cache",
                ),
                line(
                    "sum(rate(podlocal_dns_query_outcomes_total{outcome=~\"impossible_name|nxdomain_cut\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                    "rules",
                ),
                line(
                    "sum(rate(podlocal_dns_query_outcomes_total{outcome=\"coalesced\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                    "coalesced",
                ),
            ],
        },
        Panel {
            title: "Asked by pods, and by proxies",
            description: "What goes in and what comes out. With a shared tier its own share is counted, too.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum(rate(podlocal_dns_queries_total{S}[R]))", "asked by pods"),
                line("sum(rate(podlocal_dns_upstream_attempts_total{S}[R]))", "asked by proxies"),
            ],
        },
        Panel {
            title: "What the proxies do of their own accord",
            description: "completion walks the search list, family_probe asks whether a namespace exists, patience waits for a peer, refresh renews popular answers.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (reason) (rate(podlocal_dns_background_queries_total{S}[R])) > 0",
                "{{reason}}",
            )],
        },
    ],
};

/// Whether a limit is reached.
pub(super) const LIMITS: Row = Row {
    title: "Is a limit reached?",
    panels: &[
        Panel {
            title: "Limits that were reached",
            description: "Which bound, and how often. docs/settings.md tells which setting raises it.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line("sum by (limit) (rate(podlocal_dns_limits_reached_total{S}[R])) > 0", "{{limit}}")],
        },
        Panel {
            title: "What gets no answer",
            description: "dropped is no DNS, forbidden comes from a source that is not answered, flood was told SERVFAIL before; kernel: the proxy had no CPU time to read its socket.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line(
                    "sum by (outcome) (rate(podlocal_dns_query_outcomes_total{outcome=~\"not_a_query|source_not_allowed|rate_limited\",S}[R]))",
                    "{{outcome}}",
                ),
                line("sum(rate(podlocal_dns_udp_receive_dropped_total{S}[R]))", "kernel"),
            ],
        },
        Panel {
            title: "Under way in the busiest proxy",
            description: "Clients that wait, and questions under way to the upstream; max-waiters and max-in-flight bound them.",
            kind: Lines,
            unit: Count,
            lines: &[
                line("max(podlocal_dns_queries_waiting{S})", "clients waiting"),
                line("max(podlocal_dns_upstream_queries_in_flight{S})", "questions"),
                line("max(podlocal_dns_process_open_fds{S})", "descriptors"),
            ],
        },
        Panel {
            title: "The fullest cache",
            description: "Its share of cache-size. At 100 % answers make room for others before their time: see evictions.",
            kind: Lines,
            unit: Share,
            lines: &[
                line(
                    "max(podlocal_dns_cache_size_bytes{S} / podlocal_dns_cache_max_size_bytes{S})",
                    "fullest",
                ),
                line("avg(podlocal_dns_cache_size_bytes{S} / podlocal_dns_cache_max_size_bytes{S})", "mean"),
            ],
        },
        Panel {
            title: "Evictions, panics and crashes",
            description: "Answers that made room for others, panics that were survived, and crashes after which the proxy was started again. Each panic is a defect: its log line says where.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum(rate(podlocal_dns_cache_evictions_total{S}[R]))", "evictions"),
                line("sum(rate(podlocal_dns_panics_total{S}[R]))", "panics"),
                line("sum(rate(podlocal_dns_process_restarts_total{S}[R]))", "crashes"),
            ],
        },
        Panel {
            title: "Memory of a proxy",
            description: "Resident memory; the kubelet ends a proxy that exceeds memory-limit.",
            kind: Lines,
            unit: Bytes,
            lines: &[
                line("max(podlocal_dns_process_resident_memory_bytes{S})", "largest"),
                line("avg(podlocal_dns_process_resident_memory_bytes{S})", "mean"),
            ],
        },
    ],
};

/// Whether the shared tier is used.
pub(super) const TIER: Row = Row {
    title: "Is the shared tier used?",
    panels: &[
        Panel {
            title: "Who answers",
            description: "Responses to proxies from the tier and from the upstream. The tier's own questions go to the upstream.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (server) (rate(podlocal_dns_upstream_responses_total{S}[R]))",
                "{{server}}",
            )],
        },
        Panel {
            title: "Left for cluster DNS",
            description: "unreachable: no replica; failure: the tier says SERVFAIL because it has no answer; silent: it was checked and not found alive.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (reason) (rate(podlocal_dns_shared_tier_fallbacks_total{S}[R]))",
                "{{reason}}",
            )],
        },
        Panel {
            title: "The tier's questions, in and out",
            description: "What sidecars ask the tier, and what the tier asks cluster DNS.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line(
                    "sum(sum by (instance) (rate(podlocal_dns_queries_total[R])) and on (instance) podlocal_dns_build_info{role=\"shared\"})",
                    "asked by sidecars",
                ),
                line(
                    "sum(sum by (instance) (rate(podlocal_dns_upstream_attempts_total[R])) and on (instance) podlocal_dns_build_info{role=\"shared\"})",
                    "asked of cluster DNS",
                ),
            ],
        },
    ],
};
