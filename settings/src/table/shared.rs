//! Settings of the shared tier, from both sides, and what the role changes: defaults and nothing else.

use super::{CACHE_SIZE, LISTEN, Place, SEARCH, SEARCH_ASSIST, Setting};

/// The defaults of the shared role, where they are not those of the pod: all that the role changes.
pub const SHARED_DEFAULTS: &[(&Setting, &str)] = &[
    (&LISTEN, "0.0.0.0:53,[::]:53"),
    (&WORKERS, "auto"),
    (&CACHE_SIZE, "64Mi"),
    // Rules R1 to R3, which hold for every pod; what follows from a pod's own namespace and search list stays there.
    (&SEARCH_ASSIST, "impossible"),
    (&SEARCH, "."),
    (&MAX_UDP_ANSWER, "1232"),
    (&LAME_DUCK, "10s"),
    (&MAX_FLIGHTS, "4000"),
    (&MAX_WAITERS, "65536"),
    (&MAX_WAITERS_PER_FLIGHT, "65536"),
    (&MAX_TCP_CONNECTIONS, "4096"),
    (&TCP_CONNECTIONS_PER_SOURCE, "32"),
    (&MISSES_PER_SOURCE, "1024"),
    (&MISS_RATE_PER_SOURCE, "1000"),
];

/// `role`
pub const ROLE: Setting = Setting {
    name: "role",
    unit: "pod or shared",
    default: "pod",
    smallest: "",
    largest: "",
    sentence: "Whom the proxy serves. `pod`: one pod, over its loopback. `shared`: the proxies of many pods, over the \
               network, between them and the cluster's DNS. It changes defaults and nothing else.",
    source: "one program, one cache, two sets of bounds",
    place: Place::Sidecar,
};

/// `shared-tier`
pub const SHARED_TIER: Setting = Setting {
    name: "shared-tier",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The shared tier, at most 8 addresses, asked before the upstream, which stays the fallback. Default: none; \
               in a pod that uses the cluster's DNS the Service that the webhook finds in its own namespace, if any.",
    source: "a cold cache that all pods share costs the cluster's DNS one query per name",
    place: Place::Both,
};

/// `use-shared-tier`
pub const USE_SHARED_TIER: Setting = Setting {
    name: "use-shared-tier",
    unit: "true or false",
    default: "true",
    smallest: "",
    largest: "",
    sentence: "Whether the pod's proxy is told of the shared tier, where there is one. The cluster's DNS sees the tier as \
               the client: false for pods whose DNS depends on who asks.",
    source: "views, access lists and autopath of the cluster's DNS go by the client's address",
    place: Place::Pod,
};

/// `workers`
pub const WORKERS: Setting = Setting {
    name: "workers",
    unit: "a number of threads, or auto",
    default: "1",
    smallest: "",
    largest: "",
    sentence: "How many threads serve, each with sockets of its own (SO_REUSEPORT). `auto`: one for each core that the \
               process may use, at most 64.",
    source: "one thread answers more than a pod can ask; a tier uses every core that it is given",
    place: Place::Sidecar,
};

/// `sources`
pub const SOURCES: Setting = Setting {
    name: "sources",
    unit: "networks, private or any",
    default: "private",
    smallest: "",
    largest: "",
    sentence: "Who is answered; others get silence. `private`: loopback, link-local and private addresses (RFC 1918, RFC \
               4193, RFC 6598). `any`: everybody. Networks such as 203.0.113.0/24 or 2001:db8::/48 may stand beside \
               `private`.",
    source: "an open resolver is a weapon (RFC 5358)",
    place: Place::Sidecar,
};

/// `max-udp-answer`
pub const MAX_UDP_ANSWER: Setting = Setting {
    name: "max-udp-answer",
    unit: "bytes",
    default: "4096",
    smallest: "512",
    largest: "4096",
    sentence: "The largest answer by UDP to a client that takes that much by EDNS; what is larger goes by TCP.",
    source: "nothing fragments on a loopback; on a network 1232 bytes do not (RFC 9715)",
    place: Place::Sidecar,
};

/// `lame-duck`
pub const LAME_DUCK: Setting = Setting {
    name: "lame-duck",
    unit: "a duration",
    default: "0s",
    smallest: "0s",
    largest: "5m",
    sentence: "How long everything is still answered after SIGTERM, while the proxy is not ready any more, before it \
               drains.",
    source: "until every node has taken the address out of the Service; in a pod nobody comes after SIGTERM",
    place: Place::Sidecar,
};

/// `max-flights`
pub const MAX_FLIGHTS: Setting = Setting {
    name: "max-flights",
    unit: "a number",
    default: "1000",
    smallest: "1",
    largest: "20000",
    sentence: "Questions under way to the upstream at a time; above: SERVFAIL.",
    source: "each has a task and a socket or two, about 8 KiB; ephemeral ports end at 28,000",
    place: Place::Sidecar,
};

/// `max-waiters`
pub const MAX_WAITERS: Setting = Setting {
    name: "max-waiters",
    unit: "a number",
    default: "4096",
    smallest: "1",
    largest: "1048576",
    sentence: "Queries that wait for an answer at a time; above: SERVFAIL.",
    source: "200 bytes by UDP, where those behind the first have no task; about 2 KiB by TCP",
    place: Place::Sidecar,
};

/// `max-waiters-per-flight`
pub const MAX_WAITERS_PER_FLIGHT: Setting = Setting {
    name: "max-waiters-per-flight",
    unit: "a number",
    default: "1000",
    smallest: "1",
    largest: "1048576",
    sentence: "Queries that wait for the same question at a time, at one socket; above: SERVFAIL.",
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
    sentence: "TCP connections of clients at a time. A new one takes the place of the one that has been idle longest; it is \
               closed when none is idle.",
    source: "8 KiB each, with the kernel's part; together they hold at most three times as much, or 4 MiB, whatever clients do",
    place: Place::Sidecar,
};

/// `tcp-connections-per-source`
pub const TCP_CONNECTIONS_PER_SOURCE: Setting = Setting {
    name: "tcp-connections-per-source",
    unit: "a number, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "65536",
    sentence: "TCP connections of one address at a time. A new one takes the place of the one of that address that has been \
               idle longest.",
    source: "a sidecar keeps 8 and opens more in need",
    place: Place::Sidecar,
};

/// `misses-per-source`
pub const MISSES_PER_SOURCE: Setting = Setting {
    name: "misses-per-source",
    unit: "a number, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "65536",
    sentence: "Queries of one address that wait for an answer at a time; above: SERVFAIL. It is less when many wait: each \
               address may have as many as a quarter of what is free.",
    source: "one pod must not take the places of all; dynamic thresholds (Choudhury and Hahne, 1998) are fair without \
             knowing who will come",
    place: Place::Sidecar,
};

/// `miss-rate-per-source`
pub const MISS_RATE_PER_SOURCE: Setting = Setting {
    name: "miss-rate-per-source",
    unit: "queries a second, 0 for no limit",
    default: "0",
    smallest: "0",
    largest: "1000000",
    sentence: "Queries of one address that are not in the cache, in a second; twice as many at once. Above: SERVFAIL, and \
               silence for what comes beyond four times as many. All addresses that have not come over TCP lately may start \
               ten times as many exchanges together, and one address may have as many UDP answers of more than four times \
               the length of their questions; above: an empty answer with TC, and the client comes over TCP.",
    source: "a miss costs fifty times what a hit costs; a pod that starts asks for a few dozen names",
    place: Place::Sidecar,
};
