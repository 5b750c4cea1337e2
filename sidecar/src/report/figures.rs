//! The document of `stats`: counters since the start, and the current state.

use std::collections::BTreeMap;

use serde::Serialize;

/// The document of `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The proxy's version.
    pub version: String,
    /// How long it has been running.
    pub uptime_s: u64,
    /// `pod` or `shared`.
    pub role: String,
    /// Where it serves DNS.
    pub listen: Vec<String>,
    /// How many threads serve.
    pub workers: usize,
    /// The search list that it was told of.
    pub search: Vec<String>,
    /// The `ndots` that it was told of.
    pub ndots: usize,
    /// Messages from clients, by transport.
    pub queries: Counts,
    /// How they ended.
    pub outcomes: Counts,
    /// Searches and queries that the sidecar started itself, by reason.
    pub background_queries: Counts,
    /// How often each limit was reached.
    pub limits_reached: Counts,
    /// Panics of tasks, after which the process continued.
    pub panics: u64,
    /// Queries of clients that wait for an answer now.
    pub queries_waiting: usize,
    /// Queries sent upstream that are not answered yet.
    pub queries_in_flight: usize,
    /// The cache.
    pub cache: Cache,
    /// The shared tier and the upstream.
    pub upstream: Upstream,
    /// The forward zones and their servers.
    pub forward_zones: Vec<ForwardZone>,
    /// Its memory; `None` where there is no `/proc`.
    pub memory: Option<Memory>,
    /// The most frequent names, if they were requested.
    pub names: Option<Names>,
}

/// Numbers by label.
pub type Counts = BTreeMap<String, u64>;

/// What is in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Answers, fresh or expired.
    pub entries: usize,
    /// Memory that they use.
    pub bytes: u64,
    /// Memory that they may use at most.
    pub max_bytes: u64,
}

/// A zone with servers of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardZone {
    /// Its name, with the final dot.
    pub zone: String,
    /// Its servers.
    pub upstream: Upstream,
}

/// The servers, and what asking them has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// Whether no server is known to answer.
    pub is_unavailable: bool,
    /// Retransmissions that the retry budget allows now.
    pub retry_budget: u32,
    /// Attempts, by result.
    pub attempts: Counts,
    /// Attempts after the first one of an exchange.
    pub retransmissions: u64,
    /// Retries that were not sent because the retry budget was empty.
    pub retry_budget_exhausted: u64,
    /// The shared tier, then the others, in order of preference.
    pub servers: Vec<Server>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// Whether it belongs to the shared tier.
    pub is_shared_tier: bool,
    /// Whether it is ejected: asked only after the healthy servers.
    pub is_ejected: bool,
    /// Consecutive failures.
    pub failures: u32,
    /// Smoothed round-trip time (SRTT of RFC 6298); `None` before the first answer.
    pub srtt_us: Option<u64>,
    /// Variation of the round-trip time (RTTVAR of RFC 6298).
    pub rttvar_us: Option<u64>,
    /// Time since its last response of any kind.
    pub last_response_s: Option<u64>,
    /// Time since its last failed attempt.
    pub last_failure_s: Option<u64>,
    /// The result of that attempt: the label of `podlocal_dns_upstream_attempts_total`.
    pub last_failure: Option<String>,
}

/// The memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now (VmRSS of proc(5)).
    pub resident_bytes: u64,
    /// At most (VmHWM).
    pub peak_resident_bytes: u64,
}

/// The most frequent names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// For how long they have been counted.
    pub counted_for_s: u64,
    /// The most frequent first.
    pub top: Vec<Name>,
}

/// A name and how often it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The name, with its final dot.
    pub name: String,
    /// How often, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
}

impl Memory {
    /// Reads the text of `/proc/self/status` (proc(5)).
    pub fn parse(status: &str) -> Option<Self> {
        let bytes = |label: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(label))?;
            Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Some(Self { resident_bytes: bytes("VmRSS:")?, peak_resident_bytes: bytes("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_proc_status() {
        let status = "Name:\tx\nVmHWM:\t    3100 kB\nVmRSS:\t    2988 kB\n";
        let memory = Memory { resident_bytes: 2988 << 10, peak_resident_bytes: 3100 << 10 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("Name:\tx\nVmRSS:\tmuch\n"), None);
    }
}
