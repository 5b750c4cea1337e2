//! Every bound that is not a setting, in one place, each with its reason. What goes over a bound is answered
//! or closed at once and counted; nothing waits in a queue that could grow.

use std::time::Duration;

/// Exchanges with the upstream at a time. Above: SERVFAIL, so that the client moves on instead of waiting.
/// Each has a task, a socket and a buffer: about 8 KiB.
pub const FLIGHTS: usize = 1000;

/// Clients that wait for one exchange.
pub const WAITERS_PER_FLIGHT: usize = 1000;

/// Clients that wait in all. Each has a task and its question: about 2 KiB.
pub const WAITERS: usize = 4096;

/// The time from a client's question to its answer, at most. Below the 5 s after which glibc asks again
/// (resolv.conf(5), `timeout`), so a client never asks twice for what is still under way.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// How long a client waits for the upstream when there is an expired answer for it. RFC 8767 section 5 suggests
/// 1.8 s for people; a pod that starts has no such patience, and a healthy cluster DNS takes a millisecond.
pub const STALE_AFTER: Duration = Duration::from_millis(400);

/// How long a failure is remembered (RFC 9520 section 3.2: at least 1 s, at most 5 minutes).
pub const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// Failures that are remembered; above, the oldest are asked for again.
pub const FAILURES: usize = 1000;

/// How long the question about one type of address waits for the other's answer, where that may answer both. A
/// healthy cluster DNS takes a millisecond; a lost datagram must not delay two.
pub const SIBLING_WAIT: Duration = Duration::from_millis(50);

/// The longest life of an answer that says that a patient name is not there.
pub const PATIENT_NEGATIVE_SECONDS: u32 = 1;

/// The first and the longest pause between two questions about a patient name; each is twice the one before.
pub const PATIENT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(800)];

/// The largest UDP answer that we give. Nothing fragments on a loopback.
pub const UDP_ANSWER: usize = 4096;

/// The largest UDP answer to who does not speak EDNS (RFC 1035 section 4.2.1).
pub const UDP_ANSWER_WITHOUT_EDNS: usize = 512;

/// The largest TCP message: its length has 16 bits (RFC 1035 section 4.2.2).
pub const TCP_MESSAGE: usize = 65_535;

/// TCP connections of clients. Above: closed at once.
pub const TCP_CONNECTIONS: usize = 100;

/// Queries under way on one TCP connection; above, the connection is not read (RFC 7766 section 6.2.1.1
/// recommends answering out of order, which this allows).
pub const QUERIES_PER_CONNECTION: usize = 64;

/// How long a TCP connection may say nothing, take no byte of its answers, or leave a message half sent
/// (RFC 7766 section 6.2.3: a few seconds).
pub const TCP_IDLE: Duration = Duration::from_secs(10);

/// How long the drain after SIGTERM waits for answers under way: one deadline, and a little for writing.
pub const DRAIN: Duration = Duration::from_millis(4500);

/// Connections to the admin port; probes and a scrape need two.
pub const ADMIN_CONNECTIONS: usize = 16;

/// How long an admin connection may take to send its request.
pub const ADMIN_REQUEST: Duration = Duration::from_secs(5);

/// Datagrams that are taken from a socket before others get their turn.
pub const BATCH: usize = 32;
