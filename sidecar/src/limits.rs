//! Every bound that is not a setting, in one place, each with its reason. What goes over a bound is answered
//! or closed at once and counted (`podlocal_dns_limits_reached_total`, [`crate::metrics::Limit`]; the retry budget in
//! `podlocal_dns_upstream_retry_budget_exhausted_total`); nothing waits in a queue that could grow.

use std::time::Duration;

/// The time from a client's question to its answer, at most: nobody waits any longer.
pub const DEADLINE: Duration = podlocal_dns::upstream::PATIENCE;

/// Questions under way to the servers of one forward zone, beside the `max-in-flight` to the cluster's DNS: so a zone whose
/// servers are silent takes no place of other names. All zones together may have a quarter as many, 2 MiB, and each at
/// least [`LEAST_FORWARDED_FLIGHTS`].
pub fn forwarded_flights(max_in_flight: usize, zones: usize) -> usize {
    (max_in_flight / 4 / zones.max(1)).max(LEAST_FORWARDED_FLIGHTS)
}

/// What a program asks for at a time; 4 MiB for sixteen zones.
pub const LEAST_FORWARDED_FLIGHTS: usize = 32;

/// How long an ejected server may take to answer the question by which its return is found.
pub const TRIAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long a failure that may be about our EDNS is held back for the answer to the same question without it.
pub const WITHOUT_EDNS_PATIENCE: Duration = Duration::from_secs(1);

/// How long a truncated answer is held back for the whole one over TCP: a connection that is dropped on the way must not
/// cost the client its time.
pub const TRUNCATED_PATIENCE: Duration = Duration::from_secs(1);

/// How long an idle TCP connection may take to answer before the other idle ones to that server are suspect: a server that
/// went away without a word leaves them all dead.
pub const REUSED_PATIENCE: Duration = Duration::from_millis(200);

/// How long a client waits for the upstream when there is an expired answer for it. RFC 8767 section 5 suggests
/// 1.8 s for people; a pod that starts has no such patience, and a healthy cluster DNS takes a millisecond.
pub const STALE_AFTER: Duration = Duration::from_millis(400);

/// The same where the expired answer says that there is no such name: when the servers have been silent long enough to be
/// down, and a moment more.
pub const MISSING_AFTER: Duration =
    podlocal_dns::upstream::SILENT_AFTER.saturating_add(Duration::from_millis(100));

/// How long a failure is remembered (RFC 9520 section 3.2: at least 1 s, at most 5 minutes).
pub const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// Failures that are remembered; above, the oldest are asked for again.
pub const FAILURES_REMEMBERED: usize = 1000;

/// How long the question about AAAA waits for the one about A to arrive, where that may answer both: a client sends them
/// together, and either may come first.
pub const SIBLING_ARRIVES: Duration = Duration::from_millis(5);

/// How long the question about AAAA waits for the answer to A, where that may answer both. A healthy cluster DNS takes a
/// millisecond. A slow one is spared most second questions about names that do not exist; a client of a server that takes
/// 9.5 s is still answered within the 10 s that glibc waits.
pub const SIBLING_WAIT: Duration = Duration::from_millis(300);

/// How long a name that may be one of the cluster's is not asked for as it is, while its namespace is being asked about. A
/// healthy cluster DNS takes a millisecond; a slow one must not make the client wait twice.
pub const SEARCH_HEAD_START: Duration = Duration::from_millis(200);

/// The longest life of an answer that says that a patient name is not there.
pub const PATIENT_NEGATIVE_SECONDS: u32 = 1;

/// The first and the longest pause between two questions about a patient name; each is twice the one before.
pub const PATIENT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(800)];

/// The largest UDP answer to who does not speak EDNS (RFC 1035 section 4.2.1).
pub const UDP_ANSWER_WITHOUT_EDNS: usize = 512;

/// The largest TCP message: its length has 16 bits (RFC 1035 section 4.2.2).
pub const TCP_MESSAGE: usize = 65_535;

/// Connections that the kernel keeps until they are accepted.
pub const TCP_BACKLOG: i32 = 1024;

/// What is asked of the kernel for the datagrams that wait for us, in bytes; it gives twice `net.core.rmem_max` at most
/// (socket(7)), and takes memory only for what waits. A gang asks within a millisecond; a datagram takes 768 bytes there.
pub const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// Queries under way on one TCP connection; above, the connection is not read (RFC 7766 section 6.2.1.1
/// recommends answering out of order, which this allows).
pub const QUERIES_PER_CONNECTION: usize = 64;

/// What is asked of the kernel for the bytes that a TCP connection has received, and for those that its client has not
/// taken; it gives twice as much to each (socket(7)). Enough for 64 queries, and for most answers to them.
pub const TCP_SOCKET_BUFFER: usize = 16 << 10;

/// What the kernel may hold of a connection whose client does not take its answers.
pub const TCP_KERNEL_BYTES: usize = 4 * TCP_SOCKET_BUFFER;

/// What a TCP connection takes that does nothing: 1 KiB for its task, the rest for its socket and descriptor in the kernel.
pub const TCP_CONNECTION_BYTES: usize = 8 << 10;

/// The memory of all TCP connections together, in proportion to how many there may be (`max-tcp-connections`): three times
/// what they take when they do nothing. 96 MiB of the 384 that the manifests give the shared tier.
pub const TCP_BYTES_FOR_EACH: usize = 3 * TCP_CONNECTION_BYTES;

/// The same, at least: thirty clients that do not take their answers, in a pod's 32 MiB.
pub const TCP_BYTES_LEAST: usize = 4 << 20;

/// How long a TCP connection may say nothing, take no byte of its answers, or leave a message half sent
/// (RFC 7766 section 6.2.3: a few seconds).
pub const TCP_IDLE: Duration = Duration::from_secs(10);

/// How long the drain after SIGTERM waits for answers under way: until clients ask again, the next server (resolv.conf(5)).
pub const DRAIN: Duration = Duration::from_millis(4500);

/// Connections to the admin port; probes and a scrape need two. Each may hold a page of metrics that its client does not read,
/// some 25 KiB here and as much in the kernel.
pub const ADMIN_CONNECTIONS: usize = 32;

/// Those of one source: the kubelet's probes and what comes by way of its node, or two Prometheus servers. More than the
/// look-ups that are answered at a time, so that one is always idle.
pub const ADMIN_CONNECTIONS_OF_SOURCE: usize = 2 * LOOKUPS;

/// Connections to the admin port that the kernel keeps until they are accepted.
pub const ADMIN_BACKLOG: i32 = 256;

/// How long an admin connection may take to send its request.
pub const ADMIN_REQUEST: Duration = Duration::from_secs(5);

/// How long an admin connection may last: for its request, a look-up that takes all its time, and reading the answer.
pub const ADMIN_CONNECTION: Duration = ADMIN_REQUEST.saturating_add(DEADLINE).saturating_add(ADMIN_REQUEST);

/// The longest head of a request to the admin port: that of a look-up of the longest name, all of it escaped, is a tenth.
pub const ADMIN_HEAD: usize = 16 << 10;

/// Look-ups for people under way together; each asks the upstream like any client. One `lookup` asks two at a time.
pub const LOOKUPS: usize = 4;

/// What a look-up hears of exchanges at most: ten walks through a search list of six domains, each candidate asked twice.
pub const OBSERVED_EVENTS: usize = 256;

/// The records that a look-up's report shows at most.
pub const REPORTED_RECORDS: usize = 64;

/// The names that are counted while somebody wants to know the most frequent ones: some 20 KiB.
pub const NAMES_COUNTED: usize = 64;

/// How long names are counted after somebody has asked for them.
pub const NAMES_COUNTED_FOR: Duration = Duration::from_mins(10);

/// Datagrams that are taken from a socket before others get their turn.
pub const BATCH: usize = 32;

/// Attempts of one exchange that may be under way together. Each holds a socket.
pub const ATTEMPTS_UNDER_WAY: usize = 6;

/// Questions by which a silent tier is checked, of which one may be lost: when one of two replicas is gone, four of five
/// checks show it.
pub const CHECKS: usize = 5;

/// Sockets to each server that questions share, for each worker.
pub const UPSTREAM_SOCKETS: usize = 8;

/// Questions for which a shared socket is used: as many share its port.
pub const UPSTREAM_SOCKET_QUESTIONS: usize = 128;

/// How long a shared socket is used: so long may who finds out its port make use of it, and so long do its questions take one path
/// through a load balancer.
pub const UPSTREAM_SOCKET_LIFETIME: Duration = Duration::from_secs(1);

/// A server that has not been asked for so long gets a new socket for each question.
pub const UPSTREAM_SOCKET_PAUSE: Duration = Duration::from_millis(10);

/// Idle TCP connections kept to each server. What is beyond them is used once.
pub const UPSTREAM_CONNECTIONS: usize = 8;

/// How long a TCP connection to a server is kept without a question; CoreDNS closes after 10 s, too.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(10);

/// How long a TCP connection to a server is used, give or take a quarter: a Service's new endpoints get their
/// share, and not all pods connect anew together.
pub const UPSTREAM_LIFETIME: Duration = Duration::from_secs(30);

/// How often idle connections to servers are looked through for those whose time is over.
pub const UPSTREAM_TIDY: Duration = Duration::from_secs(5);

/// Frames of a TCP connection that answer another question before it is given up.
pub const STRAY_FRAMES: usize = 16;

/// How often a loop is logged at most: each query of it would be a line.
pub const LOOP_LOG: Duration = Duration::from_secs(60);
