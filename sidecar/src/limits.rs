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
