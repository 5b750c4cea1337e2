//! The dashboard as a table: what an operator asks in an outage, row by row, and the expressions that answer it.

/// The proxies that the variables of the dashboard choose; stands for `S` below.
pub const CHOSEN: &str = "namespace=~\"$namespace\",workload=~\"$workload\"";

/// A row: a question with the panels that answer it.
#[derive(Debug)]
pub struct Row {
    /// What is asked.
    pub title: &'static str,
    /// From left to right, and on.
    pub panels: &'static [Panel],
}

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// What is shown.
    pub title: &'static str,
    /// How it is read.
    pub description: &'static str,
    /// How.
    pub kind: Kind,
    /// In what.
    pub unit: Unit,
    /// The lines.
    pub lines: &'static [Line],
}

/// One expression, of which every series is a line. In it `S` stands for [`CHOSEN`], and `R` for a range that fits.
#[derive(Debug)]
pub struct Line {
    /// PromQL.
    pub expression: &'static str,
    /// What a line is called; `{{label}}` is a label's value.
    pub legend: &'static str,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The last value, as a number. From the threshold on it is red.
    Stat(Option<f64>),
    /// Lines over time.
    Lines,
    /// Areas over time, one above the other.
    Stacked,
}

/// What lines stand for that are called so, or end so, and the colour that says it: Grafana's name for it.
pub const TONES: [(&[&str], &str); 3] = [
    (&["failed", "failure", "servfail", "refused", "silent"], "red"),
    (&["stale", "overload", "skipped", "truncated"], "orange"),
    (&["hit", "noerror", "answer", "injected"], "green"),
];

/// The unit of a panel, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the units")]
pub enum Unit {
    Count,
    PerSecond,
    Share,
    Seconds,
    Bytes,
}

use Kind::{Lines, Stacked, Stat};
use Unit::{Bytes, Count, PerSecond, Seconds, Share};

const fn line(expression: &'static str, legend: &'static str) -> Line {
    Line { expression, legend }
}

/// The rows, from the first question to the last.
pub const ROWS: [Row; 6] = [
    Row {
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
                    "sum(rate(podlocal_dns_outcomes_total{outcome=~\"failed|overload|loop\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                    "",
                )],
            },
            Panel {
                title: "Answers that are expired",
                description: "The share of messages that are answered with what was right before: cluster DNS fails, and the pods do not notice yet.",
                kind: Stat(Some(0.01)),
                unit: Share,
                lines: &[line(
                    "sum(rate(podlocal_dns_outcomes_total{outcome=\"stale\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                    "",
                )],
            },
            Panel {
                title: "Proxies without any upstream",
                description: "How many proxies know of no server that answers. All of them: it is cluster DNS. Those of one node: it is the node.",
                kind: Stat(Some(1.0)),
                unit: Count,
                lines: &[line("sum(podlocal_dns_upstream_down{S})", "")],
            },
            Panel {
                title: "How look-ups end",
                description: "Messages from clients by how they ended. hit, impossible and below_missing cost no packet beyond the pod; miss and joined wait for one; stale is an expired answer; failed, overload and loop are SERVFAIL.",
                kind: Stacked,
                unit: PerSecond,
                lines: &[line(
                    "sum by (outcome) (rate(podlocal_dns_outcomes_total{S}[R])) > 0",
                    "{{outcome}}",
                )],
            },
            Panel {
                title: "Failures by namespace",
                description: "SERVFAIL, and silence for who floods. One namespace: look at its upstream and its limits. All: cluster DNS.",
                kind: Lines,
                unit: PerSecond,
                lines: &[line(
                    "sum by (namespace) (rate(podlocal_dns_outcomes_total{outcome=~\"failed|overload|loop|flood\",S}[R]))",
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
                        "count(sum by (namespace, pod) (rate(podlocal_dns_outcomes_total{outcome=~\"failed|overload|loop|flood\",S}[R])) > 0) or vector(0)",
                        "with failures",
                    ),
                    line(
                        "count(sum by (namespace, pod) (rate(podlocal_dns_outcomes_total{outcome=\"stale\",S}[R])) > 0) or vector(0)",
                        "with expired answers",
                    ),
                    line("sum(podlocal_dns_upstream_down{S})", "without upstream"),
                ],
            },
            Panel {
                title: "How long clients wait for what is not known",
                description: "Hits and local answers are not in it: they take microseconds, and no clock is read for them. 0.4 s is an expired answer, 4 s a failure.",
                kind: Lines,
                unit: Seconds,
                lines: &[
                    line(
                        "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_wait_duration_seconds_bucket{S}[R])))",
                        "99 of 100",
                    ),
                    line(
                        "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_wait_duration_seconds_bucket{S}[R])))",
                        "half of them",
                    ),
                ],
            },
        ],
    },
    Row {
        title: "Is it cluster DNS? What the pods see of it",
        panels: &[
            Panel {
                title: "How long cluster DNS takes",
                description: "Of attempts that were not overtaken by another one.",
                kind: Lines,
                unit: Seconds,
                lines: &[
                    line(
                        "histogram_quantile(0.99, sum by (le) (rate(podlocal_dns_upstream_exchange_duration_seconds_bucket{S}[R])))",
                        "99 of 100",
                    ),
                    line(
                        "histogram_quantile(0.5, sum by (le) (rate(podlocal_dns_upstream_exchange_duration_seconds_bucket{S}[R])))",
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
                    "sum(rate(podlocal_dns_upstream_exchanges_total{transport=\"udp\",result=~\"silent|overtaken\",S}[R])) / sum(rate(podlocal_dns_upstream_exchanges_total{transport=\"udp\",S}[R]))",
                    "lost or late",
                )],
            },
            Panel {
                title: "How attempts end",
                description: "truncated is followed by TCP; failure is SERVFAIL, REFUSED and the like; unreachable is a closed port; overtaken lost against another attempt.",
                kind: Stacked,
                unit: PerSecond,
                lines: &[line(
                    "sum by (transport, result) (rate(podlocal_dns_upstream_exchanges_total{S}[R])) > 0",
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
                description: "Hedges by UDP or TCP, those that the retry budget did not allow, and probes of servers that are down.",
                kind: Lines,
                unit: PerSecond,
                lines: &[
                    line("sum(rate(podlocal_dns_upstream_hedges_total{S}[R]))", "hedges"),
                    line("sum(rate(podlocal_dns_upstream_budget_exhausted_total{S}[R]))", "budget exhausted"),
                    line("sum(rate(podlocal_dns_upstream_probes_total{S}[R]))", "probes"),
                ],
            },
            Panel {
                title: "Proxies that avoid a server",
                description: "Which server: in how many proxies it failed so often that it is asked after all others.",
                kind: Lines,
                unit: Count,
                lines: &[line(
                    "sum by (address, server) (1 - podlocal_dns_upstream_up{S})",
                    "{{server}} {{address}}",
                )],
            },
        ],
    },
    Row {
        title: "What cluster DNS is spared",
        panels: &[
            Panel {
                title: "Look-ups without a packet beyond the pod",
                description: "The share that is answered by the cache, by the rules for impossible names, or by an exchange that was under way.",
                kind: Stacked,
                unit: Share,
                lines: &[
                    line(
                        "sum(rate(podlocal_dns_outcomes_total{outcome=\"hit\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                        "cache",
                    ),
                    line(
                        "sum(rate(podlocal_dns_outcomes_total{outcome=~\"impossible|below_missing\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
                        "rules",
                    ),
                    line(
                        "sum(rate(podlocal_dns_outcomes_total{outcome=\"joined\",S}[R])) / sum(rate(podlocal_dns_queries_total{S}[R]))",
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
                    line("sum(rate(podlocal_dns_upstream_exchanges_total{S}[R]))", "asked by proxies"),
                ],
            },
            Panel {
                title: "What the proxies do of their own accord",
                description: "completion walks the search list, family_probe asks whether a namespace exists, patience waits for a peer, refresh renews popular answers.",
                kind: Lines,
                unit: PerSecond,
                lines: &[line("sum by (assist) (rate(podlocal_dns_assists_total{S}[R])) > 0", "{{assist}}")],
            },
        ],
    },
    Row {
        title: "Is a limit reached?",
        panels: &[
            Panel {
                title: "Limits that were reached",
                description: "Which bound, and how often. docs/settings.md tells which setting raises it.",
                kind: Lines,
                unit: PerSecond,
                lines: &[line(
                    "sum by (limit) (rate(podlocal_dns_limits_reached_total{S}[R])) > 0",
                    "{{limit}}",
                )],
            },
            Panel {
                title: "What gets no answer",
                description: "dropped is no DNS, forbidden comes from a source that is not answered, flood was told SERVFAIL before; kernel: the proxy had no CPU time to read its socket.",
                kind: Lines,
                unit: PerSecond,
                lines: &[
                    line(
                        "sum by (outcome) (rate(podlocal_dns_outcomes_total{outcome=~\"dropped|forbidden|flood\",S}[R]))",
                        "{{outcome}}",
                    ),
                    line("sum(rate(podlocal_dns_receive_dropped_total{S}[R]))", "kernel"),
                ],
            },
            Panel {
                title: "Under way in the busiest proxy",
                description: "Clients that wait, and questions under way to the upstream; max-waiters and max-flights bound them.",
                kind: Lines,
                unit: Count,
                lines: &[
                    line("max(podlocal_dns_waiting{S})", "clients waiting"),
                    line("max(podlocal_dns_flights{S})", "questions"),
                    line("max(podlocal_dns_process_open_fds{S})", "descriptors"),
                ],
            },
            Panel {
                title: "The fullest cache",
                description: "Its share of cache-size. At 100 % answers make room for others before their time: see evictions.",
                kind: Lines,
                unit: Share,
                lines: &[
                    line("max(podlocal_dns_cache_bytes{S} / podlocal_dns_cache_limit_bytes{S})", "fullest"),
                    line("avg(podlocal_dns_cache_bytes{S} / podlocal_dns_cache_limit_bytes{S})", "mean"),
                ],
            },
            Panel {
                title: "Evictions and panics",
                description: "Answers that made room for others, and panics that were survived. Each panic is a defect: its log line says where.",
                kind: Lines,
                unit: PerSecond,
                lines: &[
                    line("sum(rate(podlocal_dns_cache_evictions_total{S}[R]))", "evictions"),
                    line("sum(rate(podlocal_dns_panics_total{S}[R]))", "panics"),
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
    },
    Row {
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
                lines: &[line("sum by (reason) (rate(podlocal_dns_tier_left_total{S}[R]))", "{{reason}}")],
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
                        "sum(sum by (instance) (rate(podlocal_dns_upstream_exchanges_total[R])) and on (instance) podlocal_dns_build_info{role=\"shared\"})",
                        "asked of cluster DNS",
                    ),
                ],
            },
        ],
    },
    Row {
        title: "Are new pods injected? The webhook",
        panels: &[
            Panel {
                title: "Reviews",
                description: "By decision. failed: the pod starts without the proxy.",
                kind: Stacked,
                unit: PerSecond,
                lines: &[line(
                    "sum by (decision) (rate(podlocal_webhook_reviews_total[R])) > 0",
                    "{{decision}}",
                )],
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
                    line("sum(rate(podlocal_webhook_ignored_settings_total[R]))", "ignored settings"),
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
    },
];
