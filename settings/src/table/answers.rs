//! Settings for answers: search, waiting, the cache.

use super::{Place, Setting};

/// `local-nxdomain`
pub const LOCAL_NXDOMAIN: Setting = Setting {
    name: "local-nxdomain",
    unit: "full, impossible or off",
    default: "full",
    smallest: "",
    largest: "",
    sentence: "Which address queries inside the cluster domain the sidecar answers NXDOMAIN by itself. \
               `impossible`: those for names that no Service can have. `full`: also those for names below \
               a namespace or Service that does not exist; kube-dns (GKE Standard) does not follow that \
               rule. `off`: none, all are forwarded; for clusters that serve extra names inside the \
               cluster domain. Without this setting, the webhook chooses by what it has seen of cluster \
               DNS.",
    source: "Kubernetes DNS-Based Service Discovery, section 2; RFC 8020; CoreDNS's plugins rewrite, hosts \
             and template need off",
    place: Place::Both,
};

/// `wait-for-names`
pub const WAIT_FOR_NAMES: Setting = Setting {
    name: "wait-for-names",
    unit: "names or *.suffixes",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Names inside the cluster domain, at most 32, that are worth waiting for: while such a name \
               does not exist, a query for it waits for up to `wait-timeout`. A name that does not end in \
               the cluster domain is relative to the pod's namespace: `*.workers` means the pods of its \
               Service workers.",
    source: "ranks look each other up before all of them are ready (coredns/coredns#6658, \
             kubernetes/kubernetes#92559)",
    place: Place::Both,
};

/// `wait-timeout`
pub const WAIT_TIMEOUT: Setting = Setting {
    name: "wait-timeout",
    unit: "a duration",
    default: "4s",
    smallest: "0s",
    largest: "4s",
    sentence: "How long a query for a name of `wait-for-names` waits. In a pod whose dnsConfig has a \
               `timeout`, at most four fifths of that.",
    source: "below the 5 s after which glibc sends its query again (resolv.conf(5), timeout)",
    place: Place::Both,
};

/// `cache-size`
pub const CACHE_SIZE: Setting = Setting {
    name: "cache-size",
    unit: "bytes",
    default: "4Mi",
    smallest: "64Ki",
    largest: "1Gi",
    sentence: "The memory that cached answers may use.",
    source: "4Mi holds about 10,000 answers; every pod pays for it",
    place: Place::Both,
};

/// `min-ttl`
pub const MIN_TTL: Setting = Setting {
    name: "min-ttl",
    unit: "a duration",
    default: "0s",
    smallest: "0s",
    largest: "1h",
    sentence: "Positive answers are cached for at least this time, whatever their TTL.",
    source: "RFC 1035 section 3.2.1: the authority decides the TTL, so 0",
    place: Place::Both,
};

/// `max-ttl`
pub const MAX_TTL: Setting = Setting {
    name: "max-ttl",
    unit: "a duration",
    default: "1h",
    smallest: "1s",
    largest: "7d",
    sentence: "Positive answers are cached for at most this time, whatever their TTL.",
    source: "RFC 8767 section 4 recommends a cap of 7 days or less; with an hour, a moved service is found \
             again within an hour",
    place: Place::Both,
};

/// `max-negative-ttl`
pub const MAX_NEGATIVE_TTL: Setting = Setting {
    name: "max-negative-ttl",
    unit: "a duration",
    default: "30s",
    smallest: "0s",
    largest: "3h",
    sentence: "Negative answers are cached for at most this time; inside the cluster domain for at most \
               5s, whatever is set.",
    source: "RFC 2308 section 5 allows up to 3 hours; a new Service must be found soon",
    place: Place::Both,
};

/// `serve-stale`
pub const SERVE_STALE: Setting = Setting {
    name: "serve-stale",
    unit: "a duration",
    default: "1h",
    smallest: "0s",
    largest: "7d",
    sentence: "How long after its expiry an answer may still be sent while the upstream fails or does not \
               respond; 0s: never.",
    source: "RFC 8767 section 5 recommends 1 to 3 days; an hour outlasts a restart of cluster DNS",
    place: Place::Both,
};

/// `refresh-ahead`
pub const REFRESH_AHEAD: Setting = Setting {
    name: "refresh-ahead",
    unit: "true or false",
    default: "true",
    smallest: "",
    largest: "",
    sentence: "Whether the sidecar refreshes an answer that clients often ask for, once, in the last tenth \
               of its TTL.",
    source: "no client waits for a popular name; one upstream query per TTL",
    place: Place::Both,
};
