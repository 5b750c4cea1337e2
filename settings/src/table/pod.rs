//! Settings for the pod and for the process in it.

use super::{Place, Setting};

/// `ndots`
pub const NDOTS: Setting = Setting {
    name: "ndots",
    unit: "a number of dots",
    default: "2",
    smallest: "0",
    largest: "15",
    sentence: "Names with at least this many dots are looked up as they stand before the search list is \
               tried. An `ndots` in the pod's own dnsConfig wins. For names with that many dots, but fewer \
               than `original-ndots`, the sidecar tries the search list itself, first, so a lower `ndots` \
               changes no result.",
    source: "resolv.conf(5): the largest value is 15; with 2, outside names are not expanded",
    place: Place::Both,
};

/// `original-ndots`
pub const ORIGINAL_NDOTS: Setting = Setting {
    name: "original-ndots",
    unit: "a number of dots",
    default: "5",
    smallest: "0",
    largest: "15",
    sentence: "The `ndots` that the pod would have without the sidecar.",
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
    sentence: "Names, at most 32, that the sidecar resolves before the pod's other containers start, and \
               then keeps fresh. It tries the search list for them as a C library does.",
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
    sentence: "How long the pod's other containers wait for `prefetch-names` at most; then they start \
               anyway. If this annotation is given without `prefetch-names`, they wait until the sidecar \
               answers; with `0s` they do not wait. Without both, a pod that requests less than 100m CPU has \
               a startup probe.",
    source: "a DNS outage must not prevent pods from starting",
    place: Place::Both,
};

/// `fallback-nameserver`
pub const FALLBACK_NAMESERVER: Setting = Setting {
    name: "fallback-nameserver",
    unit: "true or false",
    default: "false",
    smallest: "",
    largest: "",
    sentence: "Whether cluster DNS is the second nameserver in the pod's resolv.conf. musl queries all \
               nameservers at once, so Alpine pods gain nothing then.",
    source: "the resolver of musl",
    place: Place::Pod,
};

/// `log-level`
pub const LOG_LEVEL: Setting = Setting {
    name: "log-level",
    unit: "error, warn, info, debug or trace",
    default: "info",
    smallest: "",
    largest: "",
    sentence: "The lowest level of the messages that are logged, to standard error.",
    source: "info has starts, ends and problems, but no queries",
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
    source: "names are private, and a log line costs more than an answer",
    place: Place::Both,
};

/// `image`
pub const IMAGE: Setting = Setting {
    name: "image",
    unit: "an image reference",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The image of the sidecar. Default: the one with which the webhook was started.",
    source: "canary releases for one workload",
    place: Place::Pod,
};

/// `cpu-request`
pub const CPU_REQUEST: Setting = Setting {
    name: "cpu-request",
    unit: "a CPU quantity",
    default: "5m",
    smallest: "0",
    largest: "4",
    sentence: "The CPU request of the sidecar, in pods that have requests.",
    source: "an idle sidecar uses no CPU; HorizontalPodAutoscalers need a request",
    place: Place::Pod,
};

/// `cpu-limit`
pub const CPU_LIMIT: Setting = Setting {
    name: "cpu-limit",
    unit: "a CPU quantity",
    default: "",
    smallest: "1m",
    largest: "4",
    sentence: "The CPU limit of the sidecar. Default: none; 100m where the pod's QoS class or a quota \
               needs one.",
    source: "a throttled sidecar slows the application down",
    place: Place::Pod,
};

/// `memory-request`
pub const MEMORY_REQUEST: Setting = Setting {
    name: "memory-request",
    unit: "a memory quantity",
    default: "",
    smallest: "0",
    largest: "4Gi",
    sentence: "The memory request of the sidecar, in pods that have requests. Default: 8Mi and the \
               cache-size.",
    source: "the memory of an idle sidecar and a full cache",
    place: Place::Pod,
};

/// `memory-limit`
pub const MEMORY_LIMIT: Setting = Setting {
    name: "memory-limit",
    unit: "a memory quantity",
    default: "",
    smallest: "8Mi",
    largest: "4Gi",
    sentence: "The memory limit of the sidecar. Default: 24Mi and twice the cache-size.",
    source: "the limit of the cache, buffers at their limits, and a reserve",
    place: Place::Pod,
};
