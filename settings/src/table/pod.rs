//! Settings of the pod and of the process in it.

use super::{Place, Setting};

/// `ndots`
pub const NDOTS: Setting = Setting {
    name: "ndots",
    unit: "a number of dots",
    default: "2",
    smallest: "0",
    largest: "15",
    sentence: "Names with at least this many dots are asked as they are before the search list is tried; an \
               `ndots` in the pod's own dnsConfig wins. For names with so many dots and fewer than `original-ndots` the \
               proxy tries the search list itself, first, so that lowering it changes no outcome.",
    source: "resolv.conf(5): the largest is 15; 2 keeps outside names from being expanded",
    place: Place::Both,
};

/// `original-ndots`
pub const ORIGINAL_NDOTS: Setting = Setting {
    name: "original-ndots",
    unit: "a number of dots",
    default: "5",
    smallest: "0",
    largest: "15",
    sentence: "The `ndots` that the pod would have without the proxy.",
    source: "defaultDNSOptions of the kubelet (pkg/kubelet/network/dns/dns.go)",
    place: Place::Sidecar,
};

/// `prefetch-names`
pub const PREFETCH_NAMES: Setting = Setting {
    name: "prefetch-names",
    unit: "domain names",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Names, at most 32, that are resolved before the pod's other containers start, and kept fresh. The \
               search list is tried for them as a C library would.",
    source: "a job that knows its peers starts with a warm cache",
    place: Place::Both,
};

/// `ready-timeout`
pub const READY_TIMEOUT: Setting = Setting {
    name: "ready-timeout",
    unit: "a duration",
    default: "5s",
    smallest: "0s",
    largest: "5m",
    sentence: "How long the pod's other containers wait for `prefetch-names` at most; then they start anyway. An \
               annotation without `prefetch-names` makes them wait until the proxy answers; `0s` switches waiting off.",
    source: "a DNS outage must not become a start-up outage",
    place: Place::Both,
};

/// `fallback-nameserver`
pub const FALLBACK_NAMESERVER: Setting = Setting {
    name: "fallback-nameserver",
    unit: "true or false",
    default: "false",
    smallest: "",
    largest: "",
    sentence: "Whether the cluster's DNS stands second in the pod's resolv.conf. musl asks all nameservers at once, \
               so this costs Alpine pods the gain.",
    source: "musl's resolver",
    place: Place::Pod,
};

/// `log-level`
pub const LOG_LEVEL: Setting = Setting {
    name: "log-level",
    unit: "error, warn, info, debug or trace",
    default: "info",
    smallest: "",
    largest: "",
    sentence: "What is logged, to standard error.",
    source: "life events only at info",
    place: Place::Both,
};

/// `query-log`
pub const QUERY_LOG: Setting = Setting {
    name: "query-log",
    unit: "true or false",
    default: "false",
    smallest: "",
    largest: "",
    sentence: "Whether each query is logged, with its name, type and outcome.",
    source: "names are private and logs cost more than answers",
    place: Place::Both,
};

/// `image`
pub const IMAGE: Setting = Setting {
    name: "image",
    unit: "an image reference",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The sidecar's image. Default: the one that the webhook was started with.",
    source: "canaries per workload",
    place: Place::Pod,
};

/// `cpu-request`
pub const CPU_REQUEST: Setting = Setting {
    name: "cpu-request",
    unit: "a CPU quantity",
    default: "5m",
    smallest: "0",
    largest: "4",
    sentence: "The sidecar's CPU request, in pods that have requests.",
    source: "an idle sidecar uses none; a request keeps HorizontalPodAutoscalers working",
    place: Place::Pod,
};

/// `cpu-limit`
pub const CPU_LIMIT: Setting = Setting {
    name: "cpu-limit",
    unit: "a CPU quantity",
    default: "",
    smallest: "1m",
    largest: "4",
    sentence: "The sidecar's CPU limit. Default: none; 100m where the pod's QoS class or a quota needs one.",
    source: "a throttled DNS proxy is a slow application",
    place: Place::Pod,
};

/// `memory-request`
pub const MEMORY_REQUEST: Setting = Setting {
    name: "memory-request",
    unit: "a memory quantity",
    default: "",
    smallest: "0",
    largest: "4Gi",
    sentence: "The sidecar's memory request, in pods that have requests. Default: 8Mi and once the cache-size.",
    source: "what an idle proxy and a full cache take",
    place: Place::Pod,
};

/// `memory-limit`
pub const MEMORY_LIMIT: Setting = Setting {
    name: "memory-limit",
    unit: "a memory quantity",
    default: "",
    smallest: "8Mi",
    largest: "4Gi",
    sentence: "The sidecar's memory limit. Default: 24Mi and twice the cache-size.",
    source: "the bound of the cache, buffers at their limits, and room",
    place: Place::Pod,
};
