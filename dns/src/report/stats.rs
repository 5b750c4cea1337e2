//! The document of `stats`: the counters since the start, and the present state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that `stats` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The version of the running proxy.
    pub version: String,
    /// The time since the start.
    pub uptime_s: u64,
    /// `pod` or `shared`.
    pub role: String,
    /// The addresses on which the proxy serves DNS.
    pub listen: Vec<String>,
    /// The number of threads that serve.
    pub workers: usize,
    /// The search list in the settings of the proxy.
    pub search: Vec<String>,
    /// The `ndots` in the settings of the proxy.
    pub ndots: usize,
    /// Messages from clients, by transport.
    pub queries: Counts,
    /// Messages from clients, by outcome.
    pub outcomes: Counts,
    /// Searches and queries that the proxy started in addition to those of clients, by reason.
    pub background_queries: Counts,
    /// How often each limit was reached.
    pub limits_reached: Counts,
    /// Panics of tasks, after which the process continued.
    pub panics: u64,
    /// Clients that wait for an answer now.
    pub queries_waiting: usize,
    /// Exchanges with the upstream that are in flight now.
    pub queries_in_flight: usize,
    /// The cache.
    pub cache: Cache,
    /// The shared tier and the upstream.
    pub upstream: Upstream,
    /// The forward zones with their servers.
    pub forward_zones: Vec<ForwardZone>,
    /// The memory of the process; `None` without `/proc`.
    pub memory: Option<Memory>,
    /// The most frequent names, if they were requested.
    pub names: Option<Names>,
}

/// Numbers by label.
pub type Counts = BTreeMap<String, u64>;

/// The contents of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The number of answers, expired ones included.
    pub entries: usize,
    /// The memory of the answers.
    pub bytes: u64,
    /// The limit of that memory.
    pub max_bytes: u64,
}

/// A forward zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardZone {
    /// The name of the zone, with the final dot.
    pub zone: String,
    /// Its servers.
    pub upstream: Upstream,
}

/// A group of servers, and the attempts at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Whether every server is known to fail or to be silent.
    pub is_unavailable: bool,
    /// The number of retransmissions that the retry budget allows now.
    pub retry_budget: u32,
    /// Attempts, by result.
    pub attempts: Counts,
    /// Attempts after the first one of an exchange.
    pub retransmissions: u64,
    /// Retransmissions that were not sent because the retry budget was empty.
    pub retry_budget_exhausted: u64,
    /// The servers of the shared tier, then the others, in order of preference.
    pub servers: Vec<Server>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its address and port.
    pub address: String,
    /// Whether it belongs to the shared tier.
    pub is_shared_tier: bool,
    /// Whether it is queried only after the healthy servers, because it failed several times in a row.
    pub is_ejected: bool,
    /// The number of failures in a row.
    pub failures: u32,
    /// The smoothed round-trip time (SRTT of RFC 6298); `None` before the first response.
    pub srtt_us: Option<u64>,
    /// The variation of the round-trip time (RTTVAR of RFC 6298).
    pub rttvar_us: Option<u64>,
    /// The time since the last response, whatever its RCODE was.
    pub last_response_s: Option<u64>,
    /// The time since the last attempt that failed or timed out.
    pub last_failure_s: Option<u64>,
    /// The result of that attempt: the label `result` of the metrics.
    pub last_failure: Option<String>,
}

/// The memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The resident memory now (VmRSS of proc(5)).
    pub resident_bytes: u64,
    /// The peak of the resident memory (VmHWM of proc(5)).
    pub peak_resident_bytes: u64,
}

/// The most frequent names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The time since counting began.
    pub counted_for_s: u64,
    /// The names, the most frequent one first.
    pub top: Vec<Name>,
}

/// A name with its number of queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The name, with its final dot.
    pub name: String,
    /// The number of queries; it may be too high by `error`, and is never too low.
    pub count: u64,
    /// The maximum error of `count`.
    pub error: u64,
}
