//! Settings of what is answered: search, patience, the cache.

use super::{Place, Setting};

/// `search-assist`
pub const SEARCH_ASSIST: Setting = Setting {
    name: "search-assist",
    unit: "full, impossible or off",
    default: "full",
    smallest: "",
    largest: "",
    sentence: "What the proxy decides itself about address queries inside the cluster domain. `impossible`: names that \
               no Service can have do not exist. `full`: also, nothing exists below a namespace or Service that does \
               not exist; kube-dns (GKE Standard) violates that. `off`: everything is asked, for clusters that serve extra \
               names inside the cluster domain. Where it is not set, the webhook chooses by what it saw of cluster DNS.",
    source: "Kubernetes DNS-Based Service Discovery, section 2; CoreDNS's rewrite, hosts and template plugins need off",
    place: Place::Both,
};

/// `patient-names`
pub const PATIENT_NAMES: Setting = Setting {
    name: "patient-names",
    unit: "names or *.suffixes",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Names inside the cluster domain, at most 32, that are worth waiting for: while one does not exist yet, \
               its look-up is held for up to `patience`. What does not end in the cluster domain is taken as relative \
               to the pod's namespace: `*.workers` are the pods of its Service workers.",
    source: "ranks look each other up before every peer is ready (coredns/coredns#6658, kubernetes/kubernetes#92559)",
    place: Place::Both,
};

/// `patience`
pub const PATIENCE: Setting = Setting {
    name: "patience",
    unit: "a duration",
    default: "4s",
    smallest: "0s",
    largest: "4s",
    sentence: "How long the look-up of a patient name is held; in a pod whose dnsConfig has a `timeout`, for four \
               fifths of that at most.",
    source: "below the 5 s after which glibc asks again (resolv.conf(5), timeout)",
    place: Place::Both,
};

/// `cache-size`
pub const CACHE_SIZE: Setting = Setting {
    name: "cache-size",
    unit: "bytes",
    default: "4Mi",
    smallest: "64Ki",
    largest: "1Gi",
    sentence: "The memory that cached answers may take.",
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
    sentence: "Positive answers are kept at least this long, whatever their TTL.",
    source: "RFC 1035 section 3.2.1: the authority's TTL holds, so 0",
    place: Place::Both,
};

/// `max-ttl`
pub const MAX_TTL: Setting = Setting {
    name: "max-ttl",
    unit: "a duration",
    default: "1h",
    smallest: "1s",
    largest: "7d",
    sentence: "Positive answers are kept at most this long, whatever their TTL.",
    source: "RFC 8767 section 4 recommends a cap of 7 days or less; an hour follows a moved service",
    place: Place::Both,
};

/// `negative-max-ttl`
pub const NEGATIVE_MAX_TTL: Setting = Setting {
    name: "negative-max-ttl",
    unit: "a duration",
    default: "30s",
    smallest: "0s",
    largest: "3h",
    sentence: "Negative answers are kept at most this long; inside the cluster domain at most 5s whatever is set.",
    source: "RFC 2308 section 5 allows up to 3 hours; a Service that appears must be seen",
    place: Place::Both,
};

/// `serve-stale`
pub const SERVE_STALE: Setting = Setting {
    name: "serve-stale",
    unit: "a duration",
    default: "1h",
    smallest: "0s",
    largest: "7d",
    sentence: "How long an expired answer may still be given while the upstream fails or is silent; 0s: never.",
    source: "RFC 8767 section 5 recommends 1 to 3 days; an hour outlives a restart of the cluster's DNS",
    place: Place::Both,
};

/// `refresh-ahead`
pub const REFRESH_AHEAD: Setting = Setting {
    name: "refresh-ahead",
    unit: "true or false",
    default: "true",
    smallest: "",
    largest: "",
    sentence: "Whether an answer that is often asked for is asked for again, once, in the last tenth of its life.",
    source: "nobody waits for a popular name; one query for one life",
    place: Place::Both,
};
