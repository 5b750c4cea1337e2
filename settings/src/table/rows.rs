//! The rows of the table, in the order of the documentation: each is the field of [`Settings`] with its parser,
//! and the setting as data. A row without a default says in its sentence how the value is found.

use std::net::SocketAddr;
use std::time::Duration;

use super::Form::{Choice, List, One};
use super::Place::{Both, Pod, Sidecar};
use super::{Given, Setting, TextReader, settings};
use crate::value::{
    self, AllowedSources, DomainName, ForwardZone, LocalNxdomain, LogLevel, Quantity, Role,
    UpstreamTransport, Workers,
};

settings! {
    NDOTS ndots: u8 = ordered(value::number) {
        name: "ndots", place: Both, form: One("a number of dots"),
        default: "2", bounds: ("0", "15"),
        sentence: "Names with at least this many dots are looked up as they stand before the search list \
                   is tried. An `ndots` in the pod's own dnsConfig wins. For names with that many dots, \
                   but fewer than `original-ndots`, the sidecar tries the search list itself, first, so a \
                   lower `ndots` changes no result.",
        source: "resolv.conf(5): the largest value is 15; with 2, outside names are not expanded",
    }

    LOCAL_NXDOMAIN local_nxdomain: LocalNxdomain = plain(LocalNxdomain::parse) {
        name: "local-nxdomain", place: Both, form: Choice(LocalNxdomain::NAMES),
        // Shared: rules R1 to R3 hold for every pod; what follows from a pod's own namespace stays there.
        default: "full", shared: "impossible",
        sentence: "Which address queries inside the cluster domain the sidecar answers NXDOMAIN by itself. \
                   `impossible`: those for names that no Service can have. `full`: also those for names \
                   below a namespace or Service that does not exist; kube-dns (GKE Standard) does not \
                   follow that rule. `off`: none, all are forwarded; for clusters that serve extra names \
                   inside the cluster domain. Without this setting, the webhook chooses by what it has \
                   seen of cluster DNS.",
        source: "Kubernetes DNS-Based Service Discovery, section 2; RFC 8020; CoreDNS's plugins rewrite, \
                 hosts and template need off",
    }

    PREFETCH_NAMES prefetch_names: Vec<String> = list(value::names) {
        name: "prefetch-names", place: Both, form: List("domain names"),
        sentence: "Names, at most 32, that the sidecar resolves before the pod's other containers start, \
                   and then keeps fresh. It tries the search list for them as a C library does.",
        source: "a job that knows its peers starts with a warm cache",
    }

    READY_TIMEOUT ready_timeout: Duration = ordered(value::duration) {
        name: "ready-timeout", place: Both, form: One("a duration"),
        default: "5s", bounds: ("0s", "5m"),
        sentence: "How long the pod's other containers wait for `prefetch-names` at most; then they start \
                   anyway. If this annotation is given without `prefetch-names`, they wait until the \
                   sidecar answers; with `0s` they do not wait. Without both, a pod that requests less \
                   than 100m CPU has a startup probe.",
        source: "a DNS outage must not prevent pods from starting",
    }

    WAIT_FOR_NAMES wait_for_names: Vec<String> = list(value::patterns) {
        name: "wait-for-names", place: Both, form: List("names or *.suffixes"),
        sentence: "Names inside the cluster domain, at most 32, that are worth waiting for: while such a \
                   name does not exist, a query for it waits for up to `wait-timeout`. A name that does \
                   not end in the cluster domain is relative to the pod's namespace: `*.workers` means the \
                   pods of its Service workers.",
        source: "ranks look each other up before all of them are ready (coredns/coredns#6658, \
                 kubernetes/kubernetes#92559)",
    }

    WAIT_TIMEOUT wait_timeout: Duration = ordered(value::duration) {
        name: "wait-timeout", place: Both, form: One("a duration"),
        default: "4s", bounds: ("0s", "4s"),
        sentence: "How long a query for a name of `wait-for-names` waits. In a pod whose dnsConfig has a \
                   `timeout`, at most four fifths of that.",
        source: "below the 5 s after which glibc sends its query again (resolv.conf(5), timeout)",
    }

    CACHE_SIZE cache_size: u64 = ordered(value::bytes) {
        name: "cache-size", place: Both, form: One("bytes"),
        default: "4Mi", shared: "64Mi", bounds: ("64Ki", "1Gi"),
        sentence: "The memory that cached answers may use.",
        source: "4Mi holds about 10,000 answers; every pod pays for it",
    }

    MIN_TTL min_ttl: Duration = ordered(value::duration) {
        name: "min-ttl", place: Both, form: One("a duration"),
        default: "0s", bounds: ("0s", "1h"),
        sentence: "Positive answers are cached for at least this time, whatever their TTL.",
        source: "RFC 1035 section 3.2.1: the authority decides the TTL, so 0",
    }

    MAX_TTL max_ttl: Duration = ordered(value::duration) {
        name: "max-ttl", place: Both, form: One("a duration"),
        default: "1h", bounds: ("1s", "7d"),
        sentence: "Positive answers are cached for at most this time, whatever their TTL.",
        source: "RFC 8767 section 4 recommends a cap of 7 days or less; with an hour, a moved service is \
                 found again within an hour",
    }

    MAX_NEGATIVE_TTL max_negative_ttl: Duration = ordered(value::duration) {
        name: "max-negative-ttl", place: Both, form: One("a duration"),
        default: "30s", bounds: ("0s", "3h"),
        sentence: "Negative answers are cached for at most this time; inside the cluster domain for at \
                   most 5s, whatever is set.",
        source: "RFC 2308 section 5 allows up to 3 hours; a new Service must be found soon",
    }

    SERVE_STALE serve_stale: Duration = ordered(value::duration) {
        name: "serve-stale", place: Both, form: One("a duration"),
        default: "1h", bounds: ("0s", "7d"),
        sentence: "How long after its expiry an answer may still be sent while the upstream fails or does \
                   not respond; 0s: never.",
        source: "RFC 8767 section 5 recommends 1 to 3 days; an hour outlasts a restart of cluster DNS",
    }

    REFRESH_AHEAD refresh_ahead: bool = plain(value::flag) {
        name: "refresh-ahead", place: Both, form: Choice(&["true", "false"]),
        default: "true",
        sentence: "Whether the sidecar refreshes an answer that clients often ask for, once, in the last \
                   tenth of its TTL.",
        source: "no client waits for a popular name; one upstream query per TTL",
    }

    UPSTREAM upstream: Vec<SocketAddr> = list(value::addresses) {
        name: "upstream", place: Both, form: List("addresses"),
        sentence: "The DNS servers to query, in order of preference, at most 8; port 53 unless given. \
                   Default: in a pod cluster DNS, otherwise the nameservers of /etc/resolv.conf without \
                   the proxy itself.",
        source: "resolv.conf(5)",
    }

    BACKUP_UPSTREAM backup_upstream: Vec<SocketAddr> = list(value::addresses) {
        name: "backup-upstream", place: Both, form: List("addresses"),
        sentence: "DNS servers, at most 8, to query while those of `upstream` have not responded for 2 s, \
                   or refuse. They may know other names, so the sidecar ignores their answer that a name \
                   does not exist. Default: in a pod that uses cluster DNS the nameservers of its own \
                   dnsConfig, otherwise none.",
        source: "the kubelet appends a pod's nameservers to those of the cluster; for resolv.conf(5) all \
                 nameservers know the same names",
    }

    FORWARD_ZONES forward_zones: Vec<ForwardZone> = forward_zones(&CLUSTER_DOMAIN, &LISTEN) {
        name: "forward-zones", place: Both, form: List("zones and their servers"),
        sentence: "Zones with their own servers; the sidecar queries only these servers for names of the \
                   zone: `consul=10.0.0.53,corp.example=10.1.0.1+10.1.0.2`. At most 16 zones, each with at \
                   most 8 servers in order of preference; port 53 unless given. A zone includes its own \
                   name and all names below it; if several zones match, the longest wins. Names in the \
                   cluster domain always go to cluster DNS. Default: none.",
        source: "like `server=/zone/` of dnsmasq and a stub domain of CoreDNS, but for one workload",
    }

    UPSTREAM_TRANSPORT upstream_transport: UpstreamTransport = plain(UpstreamTransport::parse) {
        name: "upstream-transport", place: Both, form: Choice(UpstreamTransport::NAMES),
        default: "auto",
        sentence: "The transport of queries to the upstream and to the servers of forward zones. `auto`: \
                   UDP, and TCP for a query that was lost twice while the server answers others. `udp`: \
                   UDP, and TCP after a truncated response. `tcp`: always TCP.",
        source: "UDP is faster, but may lose messages; a network policy may allow only one of them",
    }

    SHARED_TIER shared_tier: Vec<SocketAddr> = list(value::addresses) {
        name: "shared-tier", place: Both, form: List("addresses"),
        sentence: "The addresses of the shared tier, at most 8. The sidecar queries it before the \
                   upstream, which remains the fallback. Default: none; in a pod that uses cluster DNS the \
                   Service that the webhook finds in its own namespace, if any.",
        source: "with a cache that all pods share, cluster DNS gets one query per name",
    }

    USE_SHARED_TIER use_shared_tier: bool = plain(value::flag) {
        name: "use-shared-tier", place: Pod, form: Choice(&["true", "false"]),
        default: "true",
        sentence: "Whether the pod's sidecar uses the shared tier that the webhook finds. Cluster DNS then \
                   sees the tier as the client: false for pods whose answers depend on the client's \
                   address.",
        source: "views, access lists and autopath of cluster DNS use the client's address",
    }

    CLUSTER_DOMAIN cluster_domain: DomainName = plain(DomainName::parse) {
        name: "cluster-domain", place: Sidecar, form: One("a domain name"),
        default: "cluster.local",
        sentence: "The cluster domain.",
        source: "Kubernetes DNS-Based Service Discovery, section 2; the default of the kubelet's \
                 clusterDomain in kubeadm",
    }

    NAMESPACE namespace: Option<String> = optional(value::namespace) {
        name: "namespace", place: Sidecar, form: One("a namespace"),
        sentence: "The pod's namespace. Default: none; then names of the pod's own namespace get no \
                   special treatment.",
        source: "the admission review has it",
    }

    /// `None`: the list of its namespace ([`Settings::search_list`]).
    SEARCH search: Option<Vec<String>> = optional_list(value::search_domains) {
        name: "search", place: Sidecar, form: List("domain names"),
        shared: ".",
        sentence: "The pod's search list, in order, at most 32 domains; `.` alone: none. Default: with a \
                   namespace the search list of dnsPolicy ClusterFirst, without one none.",
        source: "resolv.conf(5); MaxDNSSearchPaths of Kubernetes",
    }

    ORIGINAL_NDOTS original_ndots: u8 = ordered(value::number) {
        name: "original-ndots", place: Sidecar, form: One("a number of dots"),
        default: "5", bounds: ("0", "15"),
        sentence: "The `ndots` that the pod would have without the sidecar.",
        source: "defaultDNSOptions of the kubelet (pkg/kubelet/network/dns/dns.go)",
    }

    COMPLETION_DOMAINS completion_domains: Vec<String> = list(value::search_domains) {
        name: "completion-domains", place: Sidecar, form: List("domain names"),
        sentence: "Domains of `search` outside the cluster domain that the sidecar tries, too, for names \
                   that the client no longer expands. Default: none, because a wildcard in such a domain \
                   would answer for absolute names.",
        source: "a query does not show whether its name is absolute; the webhook sets the domains of the \
                 pod's own dnsConfig",
    }

    LISTEN listen: Vec<SocketAddr> = plain(value::addresses) {
        name: "listen", place: Sidecar, form: List("addresses"),
        default: "127.0.0.1:53,[::1]:53", shared: "0.0.0.0:53,[::]:53",
        sentence: "The addresses on which the proxy serves DNS over UDP and TCP, at most 8; port 53 unless \
                   given. A pod without an IPv6 loopback does without `[::1]`.",
        source: "resolv.conf(5) has no syntax for a port, so it is 53 in a pod",
    }

    FALLBACK_NAMESERVER fallback_nameserver: bool = plain(value::flag) {
        name: "fallback-nameserver", place: Pod, form: Choice(&["true", "false"]),
        default: "false",
        sentence: "Whether cluster DNS is the second nameserver in the pod's resolv.conf. musl queries all \
                   nameservers at once, so Alpine pods gain nothing then.",
        source: "the resolver of musl",
    }

    ADMIN_PORT admin_port: u16 = ordered(value::number) {
        name: "admin-port", place: Both, form: One("a port"),
        default: "9353", bounds: ("0", "65535"),
        sentence: "The port of /livez, /readyz and /metrics on the pod's addresses, and of \
                   `podlocal-inspect` inside the pod; 0: any free port.",
        source: "next to CoreDNS's 9153 and NodeLocal DNSCache's 9253",
    }

    LOG_LEVEL log_level: LogLevel = plain(LogLevel::parse) {
        name: "log-level", place: Both, form: Choice(LogLevel::NAMES),
        default: "info",
        sentence: "The lowest level of the messages that are logged, to standard error.",
        source: "info has starts, ends and problems, but no queries",
    }

    QUERY_LOG query_log: bool = plain(value::flag) {
        name: "query-log", place: Both, form: Choice(&["true", "false"]),
        default: "false",
        sentence: "Whether each query is logged, with its name, type and outcome.",
        source: "names are private, and a log line costs more than an answer",
    }

    IMAGE image: Option<String> = optional(value::image) {
        name: "image", place: Pod, form: One("an image reference"),
        sentence: "The image of the sidecar. Default: the one with which the webhook was started.",
        source: "canary releases for one workload",
    }

    CPU_REQUEST cpu_request: Quantity = ordered(Quantity::parse) {
        name: "cpu-request", place: Pod, form: One("a CPU quantity"),
        default: "5m", bounds: ("0", "4"),
        sentence: "The CPU request of the sidecar, in pods that have requests.",
        source: "an idle sidecar uses no CPU; HorizontalPodAutoscalers need a request",
    }

    CPU_LIMIT cpu_limit: Option<Quantity> = optional(Quantity::parse) {
        name: "cpu-limit", place: Pod, form: One("a CPU quantity"),
        bounds: ("1m", "4"),
        sentence: "The CPU limit of the sidecar. Default: none; 100m where the pod's QoS class or a quota \
                   needs one.",
        source: "a throttled sidecar slows the application down",
    }

    MEMORY_REQUEST memory_request: Option<Quantity> = optional(Quantity::parse) {
        name: "memory-request", place: Pod, form: One("a memory quantity"),
        bounds: ("0", "4Gi"),
        sentence: "The memory request of the sidecar, in pods that have requests. Default: 8Mi and the \
                   cache-size.",
        source: "the memory of an idle sidecar and a full cache",
    }

    MEMORY_LIMIT memory_limit: Option<Quantity> = optional(Quantity::parse) {
        name: "memory-limit", place: Pod, form: One("a memory quantity"),
        bounds: ("8Mi", "4Gi"),
        sentence: "The memory limit of the sidecar. Default: 24Mi and twice the cache-size.",
        source: "the limit of the cache, buffers at their limits, and a reserve",
    }

    ROLE role: Role = known_role() {
        name: "role", place: Sidecar, form: Choice(Role::NAMES),
        default: "pod",
        sentence: "The clients of the proxy. `pod`: one pod, over its loopback. `shared`: the sidecars of \
                   many pods, over the network; the proxy stands between them and cluster DNS. The role \
                   only changes defaults.",
        source: "one program, one cache, two sets of limits",
    }

    WORKERS workers: Workers = plain(Workers::parse) {
        name: "workers", place: Sidecar, form: One("a number of threads, or auto"),
        default: "1", shared: "auto",
        sentence: "The number of threads that answer queries, each with its own sockets (SO_REUSEPORT). \
                   `auto`: one for each core that the process may use, at most 64.",
        source: "one thread answers more queries than a pod can send; a shared tier uses every core that \
                 it has",
    }

    ALLOWED_SOURCES allowed_sources: AllowedSources = plain(AllowedSources::parse) {
        name: "allowed-sources", place: Sidecar, form: List("networks, private or any"),
        default: "private",
        sentence: "The addresses that get answers; queries from other addresses are dropped. `private`: \
                   loopback, link-local and private addresses (RFC 1918, RFC 4193, RFC 6598). `any`: all \
                   addresses. Networks such as 203.0.113.0/24 or 2001:db8::/48 may stand next to \
                   `private`.",
        source: "attackers abuse open resolvers (RFC 5358)",
    }

    MAX_UDP_SIZE max_udp_size: usize = ordered(value::number) {
        name: "max-udp-size", place: Sidecar, form: One("bytes"),
        default: "4096", shared: "1232", bounds: ("512", "4096"),
        sentence: "The largest answer over UDP for a client whose EDNS size allows it; larger answers go \
                   over TCP.",
        source: "a loopback does not fragment; a network does not fragment 1232 bytes (RFC 9715)",
    }

    LAME_DUCK lame_duck: Duration = ordered(value::duration) {
        name: "lame-duck", place: Sidecar, form: One("a duration"),
        default: "0s", shared: "10s", bounds: ("0s", "5m"),
        sentence: "How long the proxy still answers all queries after SIGTERM, while it is no longer \
                   ready, before it drains.",
        source: "until every node has removed the address from the Service; in a pod no client comes after \
                 SIGTERM",
    }

    MAX_IN_FLIGHT max_in_flight: usize = ordered(value::number) {
        name: "max-in-flight", place: Sidecar, form: One("a number"),
        default: "1000", shared: "4000", bounds: ("1", "20000"),
        sentence: "Upstream queries in flight at the same time; queries over the limit are answered \
                   SERVFAIL.",
        source: "each takes some 2 KiB, and may have a socket of its own; there are 28,000 ephemeral ports",
    }

    MAX_WAITERS max_waiters: usize = ordered(value::number) {
        name: "max-waiters", place: Sidecar, form: One("a number"),
        default: "4096", shared: "65536", bounds: ("1", "1048576"),
        sentence: "Queries of clients that wait for an answer at the same time; queries over the limit are \
                   answered SERVFAIL.",
        source: "200 bytes each over UDP, where coalesced queries have no task; about 2 KiB each over TCP",
    }

    MAX_WAITERS_PER_QUERY max_waiters_per_query: usize = ordered(value::number) {
        name: "max-waiters-per-query", place: Sidecar, form: One("a number"),
        default: "1000", shared: "65536", bounds: ("1", "1048576"),
        sentence: "Queries of clients that wait for the same upstream query at the same time, per socket; \
                   queries over the limit are answered SERVFAIL.",
        source: "a pod has few threads; a gang has one question and many pods",
    }

    MAX_TCP_CONNECTIONS max_tcp_connections: usize = ordered(value::number) {
        name: "max-tcp-connections", place: Sidecar, form: One("a number"),
        default: "100", shared: "4096", bounds: ("1", "65536"),
        sentence: "TCP connections of clients at the same time. A new connection replaces the one that has \
                   been idle longest; if none is idle, the new connection is closed.",
        source: "8 KiB each, with the kernel's part; all together use at most three times as much, or 4 \
                 MiB, whatever clients do",
    }

    MAX_TCP_CONNECTIONS_PER_SOURCE max_tcp_connections_per_source: u32 = ordered(value::number) {
        name: "max-tcp-connections-per-source", place: Sidecar, form: One("a number, 0 for no limit"),
        default: "0", shared: "32", bounds: ("0", "65536"),
        sentence: "TCP connections of one address at the same time. A new connection replaces the one of \
                   that address that has been idle longest.",
        source: "a sidecar keeps 8 connections, and opens more if it needs them",
    }

    MAX_MISSES_PER_SOURCE max_misses_per_source: u32 = ordered(value::number) {
        name: "max-misses-per-source", place: Sidecar, form: One("a number, 0 for no limit"),
        default: "0", shared: "1024", bounds: ("0", "65536"),
        sentence: "Queries of one address that wait for an answer at the same time; queries over the limit \
                   are answered SERVFAIL. The limit is lower while many queries wait: each address may \
                   have as many as a quarter of the free places.",
        source: "one pod must not take the places of all others; dynamic thresholds (Choudhury and Hahne, \
                 1998) are fair without knowledge of future clients",
    }

    MAX_MISS_RATE_PER_SOURCE max_miss_rate_per_source: u32 = ordered(value::number) {
        name: "max-miss-rate-per-source", place: Sidecar, form: One("queries a second, 0 for no limit"),
        default: "0", shared: "1000", bounds: ("0", "1000000"),
        sentence: "Queries per second of one address that are not in the cache, with bursts of twice as \
                   many. Queries over the limit are answered SERVFAIL; those over four times the limit are \
                   dropped. All addresses that have not used TCP lately may together start ten times as \
                   many exchanges. One address may have as many UDP answers that are more than four times \
                   as long as their queries. Over these limits the answer is empty and has TC, so that the \
                   client uses TCP.",
        source: "a miss costs fifty times as much as a hit; a pod that starts looks up a few dozen names",
    }
}
