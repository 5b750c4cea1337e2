//! Panels of what the proxies do, of their limits and of the shared tier.

use super::Kind::{Lines, Stacked};
use super::Unit::{Bytes, Count, PerSecond, Share};
use super::{Panel, Row, line};

/// The load that cluster DNS does not get.
pub(super) const SAVED: Row = Row {
    title: "How much load does cluster DNS not get?",
    panels: &[
        Panel {
            title: "Queries without an upstream query",
            description: "Share of client queries that are answered from the cache, by the rules for impossible names, or by an exchange that was already in flight.",
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
            title: "Client queries and upstream attempts",
            description: "Queries that the proxies receive, and attempts that they make. Those of a shared tier are included.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line("sum(rate(podlocal_dns_queries_total{S}[R]))", "received from clients"),
                line("sum(rate(podlocal_dns_upstream_attempts_total{S}[R]))", "attempts upstream"),
            ],
        },
        Panel {
            title: "Background queries",
            description: "search_completion tries the search list, parent_probe finds out whether a namespace or Service exists, wait is for names of wait-for-names, refresh renews popular answers, prefetch is for names of prefetch-names.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (reason) (rate(podlocal_dns_background_queries_total{S}[R])) > 0",
                "{{reason}}",
            )],
        },
    ],
};

/// The limits of the proxies.
pub(super) const LIMITS: Row = Row {
    title: "Is a limit reached?",
    panels: &[
        Panel {
            title: "Limits reached",
            description: "How often each limit was reached. docs/settings.md has the setting that raises it.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line("sum by (limit) (rate(podlocal_dns_limits_reached_total{S}[R])) > 0", "{{limit}}")],
        },
        Panel {
            title: "Queries without an answer",
            description: "not_a_query: not a DNS query; source_not_allowed: the source is not in allowed-sources; rate_limited: the source was answered SERVFAIL before; kernel: the receive buffer was full, because the proxy got no CPU time.",
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
            title: "Queries in flight in the busiest proxy",
            description: "Client queries that wait, and upstream queries in flight. max-waiters and max-in-flight limit them.",
            kind: Lines,
            unit: Count,
            lines: &[
                line("max(podlocal_dns_queries_waiting{S})", "client queries waiting"),
                line("max(podlocal_dns_upstream_queries_in_flight{S})", "upstream queries in flight"),
                line("max(podlocal_dns_process_open_fds{S})", "file descriptors"),
            ],
        },
        Panel {
            title: "The fullest cache",
            description: "Used share of cache-size. At 100 % the cache evicts answers: see evictions.",
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
            description: "Answers that were evicted, panics after which the process continued, and crashes after which the proxy was restarted. Each panic is a defect: please report its log line.",
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
            description: "Resident memory. The kernel kills a proxy that exceeds memory-limit.",
            kind: Lines,
            unit: Bytes,
            lines: &[
                line("max(podlocal_dns_process_resident_memory_bytes{S})", "largest"),
                line("avg(podlocal_dns_process_resident_memory_bytes{S})", "mean"),
            ],
        },
    ],
};

/// The use of the shared tier.
pub(super) const TIER: Row = Row {
    title: "Is the shared tier used?",
    panels: &[
        Panel {
            title: "Responses by server",
            description: "Responses that proxies get from the shared tier and from the upstream. The queries of the shared tier itself go to the upstream.",
            kind: Stacked,
            unit: PerSecond,
            lines: &[line(
                "sum by (server) (rate(podlocal_dns_upstream_responses_total{S}[R]))",
                "{{server}}",
            )],
        },
        Panel {
            title: "Fallbacks to cluster DNS",
            description: "unreachable: no replica listens; failure: the shared tier responds SERVFAIL, because it has no answer; timeout: no response, and none to the health check.",
            kind: Lines,
            unit: PerSecond,
            lines: &[line(
                "sum by (reason) (rate(podlocal_dns_shared_tier_fallbacks_total{S}[R]))",
                "{{reason}}",
            )],
        },
        Panel {
            title: "Queries to and from the shared tier",
            description: "Queries of sidecars to the shared tier, and attempts of the shared tier at cluster DNS.",
            kind: Lines,
            unit: PerSecond,
            lines: &[
                line(
                    "sum(sum by (instance) (rate(podlocal_dns_queries_total[R])) and on (instance) podlocal_dns_build_info{role=\"shared\"})",
                    "from sidecars",
                ),
                line(
                    "sum(sum by (instance) (rate(podlocal_dns_upstream_attempts_total[R])) and on (instance) podlocal_dns_build_info{role=\"shared\"})",
                    "attempts at cluster DNS",
                ),
            ],
        },
    ],
};
