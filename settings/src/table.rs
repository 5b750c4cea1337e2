//! The one table of settings. Flags, environment variables, annotations, `--help` and the page in the docs
//! all come from here.

use crate::names::{ANNOTATION_PREFIX, VARIABLE_PREFIX};

/// One setting, as data. Defaults and bounds are written the way a user writes the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, in lower case with hyphens: `cache-size`.
    pub name: &'static str,
    /// What a value looks like, for people: "a duration", "bytes".
    pub unit: &'static str,
    /// The default; empty where the sentence says how it is found.
    pub default: &'static str,
    /// The smallest value allowed; empty where there is no order.
    pub smallest: &'static str,
    /// The largest value allowed; empty where there is no order.
    pub largest: &'static str,
    /// What it does.
    pub sentence: &'static str,
    /// Where the default or the bounds come from: an RFC section, a measurement, a reason.
    pub source: &'static str,
    /// Who reads it, and so where it can be given.
    pub place: Place,
}

/// Where a setting can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the sidecar only: a flag or a variable. The webhook decides it for injected pods.
    Sidecar,
    /// To the webhook only: an annotation or the webhook's settings file; it shapes the pod.
    Pod,
    /// Both: an annotation that the webhook hands on to the sidecar.
    Both,
}

impl Setting {
    /// `--cache-size`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    /// `PODLOCAL_CACHE_SIZE`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// `podlocal-dns.io/cache-size`.
    pub fn annotation(&self) -> String {
        format!("{ANNOTATION_PREFIX}{}", self.name)
    }

    /// Whether it holds several values, with commas between them.
    pub fn is_list(&self) -> bool {
        self.unit == "addresses"
    }

    /// Whether the sidecar reads it, from flags and variables.
    pub fn is_for_sidecar(&self) -> bool {
        matches!(self.place, Place::Sidecar | Place::Both)
    }

    /// Whether pods and namespaces may set it by annotation.
    pub fn is_annotation(&self) -> bool {
        matches!(self.place, Place::Pod | Place::Both)
    }
}

/// Every setting, in the order in which people read about them.
pub const TABLE: &[&Setting] = &[
    &NDOTS,
    &READY_TIMEOUT,
    &CACHE_SIZE,
    &MIN_TTL,
    &MAX_TTL,
    &NEGATIVE_MAX_TTL,
    &UPSTREAM,
    &ZONE,
    &LISTEN,
    &FALLBACK_NAMESERVER,
    &ADMIN_PORT,
    &LOG_LEVEL,
    &QUERY_LOG,
    &IMAGE,
    &CPU_REQUEST,
    &CPU_LIMIT,
    &MEMORY_REQUEST,
    &MEMORY_LIMIT,
];

/// The setting of that name, among those for which `wanted` holds.
pub fn find(name: &str, wanted: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
    TABLE.iter().copied().find(|setting| setting.name == name && wanted(setting))
}

/// `ndots`
pub const NDOTS: Setting = Setting {
    name: "ndots",
    unit: "a number of dots",
    default: "2",
    smallest: "0",
    largest: "15",
    sentence: "Names with at least this many dots are asked as they are before the search list is tried; an \
               `ndots` in the pod's own dnsConfig wins.",
    source: "resolv.conf(5): the largest is 15; 2 keeps outside names from being expanded",
    place: Place::Pod,
};

/// `ready-timeout`
pub const READY_TIMEOUT: Setting = Setting {
    name: "ready-timeout",
    unit: "a duration",
    default: "5s",
    smallest: "0s",
    largest: "5m",
    sentence: "How long the pod's other containers wait for the proxy to answer, at most; then they start anyway.",
    source: "a DNS outage must not become a start-up outage",
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

/// `upstream`
pub const UPSTREAM: Setting = Setting {
    name: "upstream",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The DNS servers to ask, in order of preference, at most 8; port 53 unless given. Default: in a pod the \
               cluster's DNS, else the nameservers of /etc/resolv.conf that are not the proxy itself.",
    source: "resolv.conf(5)",
    place: Place::Both,
};

/// `zone`
pub const ZONE: Setting = Setting {
    name: "zone",
    unit: "a domain name",
    default: "cluster.local",
    smallest: "",
    largest: "",
    sentence: "The cluster domain.",
    source: "Kubernetes DNS-Based Service Discovery, section 2; the default of the kubelet's clusterDomain in kubeadm",
    place: Place::Sidecar,
};

/// `listen`
pub const LISTEN: Setting = Setting {
    name: "listen",
    unit: "addresses",
    default: "127.0.0.1:53,[::1]:53",
    smallest: "",
    largest: "",
    sentence: "Where to serve DNS over UDP and TCP, at most 8; port 53 unless given. A pod without an IPv6 loopback \
               goes without [::1].",
    source: "resolv.conf(5) has no syntax for a port, so it is 53 in a pod",
    place: Place::Sidecar,
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

/// `admin-port`
pub const ADMIN_PORT: Setting = Setting {
    name: "admin-port",
    unit: "a port",
    default: "9353",
    smallest: "0",
    largest: "65535",
    sentence: "The port of /livez, /readyz and /metrics on the pod's addresses; 0 takes any free port.",
    source: "beside CoreDNS's 9153 and NodeLocal DNSCache's 9253",
    place: Place::Both,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_lower_case_and_hyphenated() {
        let names: BTreeSet<_> = TABLE.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }

    #[test]
    fn every_setting_says_what_it_does_and_why_it_is_so() {
        for setting in TABLE {
            assert!(setting.sentence.ends_with('.'), "{}", setting.name);
            assert!(!setting.source.is_empty() && !setting.unit.is_empty(), "{}", setting.name);
            assert_eq!(setting.smallest.is_empty(), setting.largest.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn the_three_spellings() {
        assert_eq!(CACHE_SIZE.flag(), "--cache-size");
        assert_eq!(CACHE_SIZE.variable(), "PODLOCAL_CACHE_SIZE");
        assert_eq!(CACHE_SIZE.annotation(), "podlocal-dns.io/cache-size");
    }
}
