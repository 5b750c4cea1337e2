//! Every limit that is not a setting, in one place, each with its reason. Queries and connections over a
//! limit are answered or closed immediately and counted (`podlocal_dns_limits_reached_total`,
//! [`crate::metrics::Limit`]; the retry budget in `podlocal_dns_upstream_retry_budget_exhausted_total`);
//! nothing waits in a queue that could grow.

use std::time::Duration;

/// The time-out of a client's query: no client waits longer for its answer.
pub const DEADLINE: Duration = podlocal_dns::upstream::EXCHANGE_TIMEOUT;

/// The limit on flights to the servers of one forward zone, in addition to the `max-in-flight` to cluster
/// DNS: a zone with silent servers takes no places from other names. All zones together may have a quarter as
/// many, 2 MiB, and each at least [`MIN_FORWARD_ZONE_FLIGHTS`].
pub fn forward_zone_flights(max_in_flight: usize, zones: usize) -> usize {
    (max_in_flight / 4 / zones.max(1)).max(MIN_FORWARD_ZONE_FLIGHTS)
}

/// As many queries as a program sends at a time; 4 MiB for sixteen zones.
pub const MIN_FORWARD_ZONE_FLIGHTS: usize = 32;

/// How long an ejected server may take to answer the query of a trial.
pub const TRIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a failure that EDNS may have caused is held back for the answer to the query without EDNS.
pub const WITHOUT_EDNS_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a truncated answer is held back for the whole one over TCP: a TCP connection that a firewall
/// drops must not cost the client its time.
pub const TRUNCATED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an idle TCP connection may take to answer before the other idle ones to that server are suspect:
/// when a server disappears without closing its connections, all of them are dead.
pub const REUSED_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a client waits for the upstream when there is an expired answer. RFC 8767 section 5 suggests 1.8
/// s for people; a starting pod should wait less, and a healthy cluster DNS takes a millisecond.
pub const STALE_AFTER: Duration = Duration::from_millis(400);

/// The same where the expired answer is NXDOMAIN: the time until silent servers count as down, and a moment
/// more.
pub const MISSING_AFTER: Duration =
    podlocal_dns::upstream::SILENT_AFTER.saturating_add(Duration::from_millis(100));

/// How long a failure is cached (RFC 9520 section 3.2: at least 1 s, at most 5 minutes).
pub const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// The number of cached failures; beyond it, the questions of the oldest are queried again.
pub const FAILURES_REMEMBERED: usize = 1000;

/// How long an AAAA query waits for the A query of the same client to arrive, where the answer to A may
/// answer both: a client sends them together, and either may come first.
pub const SIBLING_ARRIVAL_WAIT: Duration = Duration::from_millis(5);

/// How long an AAAA query waits for the answer to A, where that may answer both. A healthy cluster DNS takes
/// a millisecond. A slow one is spared most AAAA queries for names that do not exist; a client of a server
/// that takes 9.5 s is still answered within the 10 s that glibc waits.
pub const SIBLING_ANSWER_WAIT: Duration = Duration::from_millis(300);

/// How long the query for the name as it stands waits for the search expansion, for a name that may be in the
/// cluster. A healthy cluster DNS takes a millisecond; a slow one must not make the client wait twice.
pub const SEARCH_HEAD_START: Duration = Duration::from_millis(200);

/// The longest TTL of a negative answer for a name that is worth waiting for.
pub const AWAITED_NAME_NEGATIVE_SECONDS: u32 = 1;

/// The first and the longest pause between two queries for a name that is worth waiting for; each is twice
/// the one before.
pub const AWAITED_NAME_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(800)];

/// The largest UDP answer to a client without EDNS (RFC 1035 section 4.2.1), in bytes.
pub const UDP_ANSWER_WITHOUT_EDNS: usize = 512;

/// The largest TCP message, in bytes: its length has 16 bits (RFC 1035 section 4.2.2).
pub const TCP_MESSAGE: usize = 65_535;

/// The number of connections that the kernel queues until they are accepted.
pub const TCP_BACKLOG: i32 = 1024;

/// The requested receive buffer of a UDP socket, in bytes; the kernel gives twice `net.core.rmem_max` at most
/// (socket(7)), and takes memory only for datagrams that wait. A gang sends its queries within a millisecond;
/// a datagram takes 768 bytes there.
pub const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// Queries in flight on one TCP connection; beyond it, the connection is not read (RFC 7766 section 6.2.1.1
/// recommends answering out of order, which this allows).
pub const QUERIES_PER_CONNECTION: usize = 64;

/// The requested receive and send buffers of a TCP connection, in bytes; the kernel gives twice as much to
/// each (socket(7)). Enough for 64 queries, and for most answers to them.
pub const TCP_SOCKET_BUFFER: usize = 16 << 10;

/// The bytes that the kernel may hold for a connection whose client does not read its answers.
pub const TCP_KERNEL_BYTES: usize = 4 * TCP_SOCKET_BUFFER;

/// The memory of an idle TCP connection: 1 KiB for its task, the rest for its socket and descriptor in the
/// kernel.
pub const TCP_CONNECTION_BYTES: usize = 8 << 10;

/// The memory of all TCP connections together, in proportion to their limit (`max-tcp-connections`): three
/// times the memory of idle ones. 96 MiB of the 384 that the manifests give the shared tier.
pub const TCP_BYTES_FOR_EACH: usize = 3 * TCP_CONNECTION_BYTES;

/// The same, at least: thirty clients that do not read their answers, in a pod's 32 MiB.
pub const TCP_BYTES_LEAST: usize = 4 << 20;

/// How long a TCP connection may be silent, read no byte of its answers, or leave a message incomplete (RFC
/// 7766 section 6.2.3: a few seconds).
pub const TCP_IDLE: Duration = Duration::from_secs(10);

/// How long the drain after SIGTERM waits for queries in flight: until clients retransmit, to the next server
/// (resolv.conf(5)).
pub const DRAIN: Duration = Duration::from_millis(4500);

/// Connections to the admin port; probes and a scrape need two. Each may hold a page of metrics that its
/// client does not read, some 25 KiB here and as much in the kernel.
pub const ADMIN_CONNECTIONS: usize = 32;

/// Admin connections of one source: the kubelet's probes and everything else from its node, or two Prometheus
/// servers. More than the lookups that are answered at a time, so that one is always free.
pub const ADMIN_CONNECTIONS_OF_SOURCE: usize = 2 * LOOKUPS;

/// Connections to the admin port that the kernel queues until they are accepted.
pub const ADMIN_BACKLOG: i32 = 256;

/// How long a client may take to send a request to the admin port.
pub const ADMIN_REQUEST: Duration = Duration::from_secs(5);

/// How long an admin connection may last: for its request, the slowest lookup, and reading the answer.
pub const ADMIN_CONNECTION: Duration = ADMIN_REQUEST.saturating_add(DEADLINE).saturating_add(ADMIN_REQUEST);

/// The longest head of a request to the admin port, in bytes: a lookup of the longest name, all of it
/// escaped, needs a tenth.
pub const ADMIN_HEAD: usize = 16 << 10;

/// Concurrent `lookup` requests; each queries the upstream like any client. One `lookup` sends two at a time.
pub const LOOKUPS: usize = 4;

/// The events of exchanges that a `lookup` records at most: ten walks through a search list of six domains,
/// with two queries for each candidate.
pub const OBSERVED_EVENTS: usize = 256;

/// The records in the report of a `lookup` at most.
pub const REPORTED_RECORDS: usize = 64;

/// The number of names that are counted while a user asks for the most frequent ones: some 20 KiB.
pub const NAMES_COUNTED: usize = 64;

/// How long names are counted after a user has asked for them.
pub const NAMES_COUNTED_FOR: Duration = Duration::from_mins(10);

/// Datagrams that are received from a socket before other tasks run.
pub const BATCH: usize = 32;

/// Concurrent attempts of one exchange. Each holds a socket.
pub const ATTEMPTS_IN_FLIGHT: usize = 6;

/// The probes to a silent tier, of which one may be lost: when one of two replicas is dead, four of five
/// probings show it.
pub const PROBES: usize = 5;

/// Shared sockets to each server, for each worker.
pub const UPSTREAM_SOCKETS: usize = 8;

/// Queries for which a shared socket is used: so many use the same port.
pub const UPSTREAM_SOCKET_QUESTIONS: usize = 128;

/// Queries in a row that go to the same slot, before another one is drawn.
pub const UPSTREAM_SOCKET_TURN: usize = 16;

/// How long a shared socket is used: so long an attacker can use its port after guessing it, and so long its
/// queries take one path through a load balancer.
pub const UPSTREAM_SOCKET_LIFETIME: Duration = Duration::from_secs(1);

/// How often a socket to a server that takes further queries checks which of its queries need a
/// retransmission, all at once: a timer for each query costs more than sending it. A socket that takes no
/// further queries checks them when one may be due, and not sooner than after this time.
pub const UPSTREAM_TICK: Duration = Duration::from_millis(20);

/// The largest answer over UDP that the reader of a socket processes itself, in bytes. It processes up to
/// [`BATCH`] of them in a row. Answers within the size that the sidecar asks for are smaller.
pub const UPSTREAM_DIRECT_ANSWER: usize = 4096;

/// A server that has not been queried for so long gets a new socket for each query.
pub const UPSTREAM_SOCKET_PAUSE: Duration = Duration::from_millis(10);

/// Idle TCP connections that are kept to each server. Others are used once.
pub const UPSTREAM_CONNECTIONS: usize = 8;

/// How long an idle TCP connection to a server is kept; CoreDNS closes after 10 s, too.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(10);

/// How long a TCP connection to a server is used, give or take a quarter: the new endpoints of a Service get
/// their share, and not all pods reconnect together.
pub const UPSTREAM_LIFETIME: Duration = Duration::from_secs(30);

/// How often expired idle connections to servers are closed.
pub const UPSTREAM_TIDY: Duration = Duration::from_secs(5);

/// Messages on a TCP connection that answer another query before the connection is given up.
pub const STRAY_FRAMES: usize = 16;

/// How often the warnings of a loop or of forged replies are logged at most: each query could log one.
pub const WARNING_INTERVAL: Duration = Duration::from_secs(60);
