//! Settings for the shared tier and its clients, and the defaults of the role `shared`.

use super::{CACHE_SIZE, LISTEN, LOCAL_NXDOMAIN, Place, SEARCH, Setting};

/// The defaults of the role `shared` that differ from those of the role `pod`. The role changes nothing else.
pub const SHARED_DEFAULTS: &[(&Setting, &str)] = &[
    (&LISTEN, "0.0.0.0:53,[::]:53"),
    (&WORKERS, "auto"),
    (&CACHE_SIZE, "64Mi"),
    // Rules R1 to R3, which hold for every pod; what follows from a pod's own namespace and search list stays
    // there.
    (&LOCAL_NXDOMAIN, "impossible"),
    (&SEARCH, "."),
    (&MAX_UDP_SIZE, "1232"),
    (&LAME_DUCK, "10s"),
    (&MAX_IN_FLIGHT, "4000"),
    (&MAX_WAITERS, "65536"),
    (&MAX_WAITERS_PER_QUERY, "65536"),
    (&MAX_TCP_CONNECTIONS, "4096"),
    (&MAX_TCP_CONNECTIONS_PER_SOURCE, "32"),
    (&MAX_MISSES_PER_SOURCE, "1024"),
    (&MAX_MISS_RATE_PER_SOURCE, "1000"),
];

/// `role`
pub const ROLE: Setting = Setting {
    name: "role",
    unit: "pod or shared",
    default: "pod",
    smallest: "",
    largest: "",
    sentence: "The clients of the proxy. `pod`: one pod, over its loopback. `shared`: the sidecars of many \
               pods, over the network; the proxy stands between them and cluster DNS. The role only \
               changes defaults.",
    source: "one program, one cache, two sets of limits",
    place: Place::Sidecar,
};

/// `shared-tier`
pub const SHARED_TIER: Setting = Setting {
    name: "shared-tier",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The addresses of the shared tier, at most 8. The sidecar queries it before the upstream, \
               which remains the fallback. Default: none; in a pod that uses cluster DNS the Service that \
               the webhook finds in its own namespace, if any.",
    source: "with a cache that all pods share, cluster DNS gets one query per name",
    place: Place::Both,
};

/// `use-shared-tier`
pub const USE_SHARED_TIER: Setting = Setting {
    name: "use-shared-tier",
    unit: "true or false",
    default: "true",
    smallest: "",
    largest: "",
    sentence: "Whether the pod's sidecar uses the shared tier that the webhook finds. Cluster DNS then \
               sees the tier as the client: false for pods whose answers depend on the client's address.",
    source: "views, access lists and autopath of cluster DNS use the client's address",
    place: Place::Pod,
};

/// `workers`
pub const WORKERS: Setting = Setting {
    name: "workers",
    unit: "a number of threads, or auto",
    default: "1",
    smallest: "",
    largest: "",
    sentence: "The number of threads that answer queries, each with its own sockets (SO_REUSEPORT). \
               `auto`: one for each core that the process may use, at most 64.",
    source: "one thread answers more queries than a pod can send; a shared tier uses every core that it \
             has",
    place: Place::Sidecar,
};

/// `allowed-sources`
pub const ALLOWED_SOURCES: Setting = Setting {
    name: "allowed-sources",
    unit: "networks, private or any",
    default: "private",
    smallest: "",
    largest: "",
    sentence: "The addresses that get answers; queries from other addresses are dropped. `private`: \
               loopback, link-local and private addresses (RFC 1918, RFC 4193, RFC 6598). `any`: all \
               addresses. Networks such as 203.0.113.0/24 or 2001:db8::/48 may stand next to `private`.",
    source: "attackers abuse open resolvers (RFC 5358)",
    place: Place::Sidecar,
};

/// `max-udp-size`
pub const MAX_UDP_SIZE: Setting = Setting {
    name: "max-udp-size",
    unit: "bytes",
    default: "4096",
    smallest: "512",
    largest: "4096",
    sentence: "The largest answer over UDP for a client whose EDNS size allows it; larger answers go over \
               TCP.",
    source: "a loopback does not fragment; a network does not fragment 1232 bytes (RFC 9715)",
    place: Place::Sidecar,
};

/// `lame-duck`
pub const LAME_DUCK: Setting = Setting {
    name: "lame-duck",
    unit: "a duration",
    default: "0s",
    smallest: "0s",
    largest: "5m",
    sentence: "How long the proxy still answers all queries after SIGTERM, while it is no longer ready, \
               before it drains.",
    source: "until every node has removed the address from the Service; in a pod no client comes after \
             SIGTERM",
    place: Place::Sidecar,
};

/// `max-in-flight`
pub const MAX_IN_FLIGHT: Setting = Setting {
    name: "max-in-flight",
    unit: "a number",
    default: "1000",
    smallest: "1",
    largest: "20000",
    sentence: "Upstream queries in flight at the same time; queries over the limit are answered SERVFAIL.",
    source: "each takes some 2 KiB, and may have a socket of its own; there are 28,000 ephemeral ports",
    place: Place::Sidecar,
};

/// `max-waiters`
pub const MAX_WAITERS: Setting = Setting {
    name: "max-waiters",
    unit: "a number",
    default: "4096",
    smallest: "1",
    largest: "1048576",
    sentence: "Queries of clients that wait for an answer at the same time; queries over the limit are \
               answered SERVFAIL.",
    source: "200 bytes each over UDP, where coalesced queries have no task; about 2 KiB each over TCP",
    place: Place::Sidecar,
};

/// `max-waiters-per-query`
pub const MAX_WAITERS_PER_QUERY: Setting = Setting {
    name: "max-waiters-per-query",
    unit: "a number",
    default: "1000",
    smallest: "1",
    largest: "1048576",
    sentence: "Queries of clients that wait for the same upstream query at the same time, per socket; \
               queries over the limit are answered SERVFAIL.",
    source: "a pod has few threads; a gang has one question and many pods",
    place: Place::Sidecar,
};

/// `max-tcp-connections`
pub const MAX_TCP_CONNECTIONS: Setting = Setting {
    name: "max-tcp-connections",
    unit: "a number",
    default: "100",
    smallest: "1",
    largest: "65536",
    sentence: "TCP connections of clients at the same time. A new connection replaces the one that has \
               been idle longest; if none is idle, the new connection is closed.",
    source: "8 KiB each, with the kernel's part; all together use at most three times as much, or 4 MiB, \
             whatever clients do",
    place: Place::Sidecar,
};

/// `max-tcp-connections-per-source`
pub const MAX_TCP_CONNECTIONS_PER_SOURCE: Setting = Setting {
    name: "max-tcp-connections-per-source",
    unit: "a number, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "65536",
    sentence: "TCP connections of one address at the same time. A new connection replaces the one of that \
               address that has been idle longest.",
    source: "a sidecar keeps 8 connections, and opens more if it needs them",
    place: Place::Sidecar,
};

/// `max-misses-per-source`
pub const MAX_MISSES_PER_SOURCE: Setting = Setting {
    name: "max-misses-per-source",
    unit: "a number, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "65536",
    sentence: "Queries of one address that wait for an answer at the same time; queries over the limit are \
               answered SERVFAIL. The limit is lower while many queries wait: each address may have as \
               many as a quarter of the free places.",
    source: "one pod must not take the places of all others; dynamic thresholds (Choudhury and Hahne, \
             1998) are fair without knowledge of future clients",
    place: Place::Sidecar,
};

/// `max-miss-rate-per-source`
pub const MAX_MISS_RATE_PER_SOURCE: Setting = Setting {
    name: "max-miss-rate-per-source",
    unit: "queries a second, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "1000000",
    sentence: "Queries per second of one address that are not in the cache, with bursts of twice as many. \
               Queries over the limit are answered SERVFAIL; those over four times the limit are dropped. \
               All addresses that have not used TCP lately may together start ten times as many exchanges. \
               One address may have as many UDP answers that are more than four times as long as their \
               queries. Over these limits the answer is empty and has TC, so that the client uses TCP.",
    source: "a miss costs fifty times as much as a hit; a pod that starts looks up a few dozen names",
    place: Place::Sidecar,
};
