//! The document of `stats`: the counters since the start, and the present state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that `stats` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub version: String,
    pub uptime_s: u64,
    pub role: String,
    pub listen: Vec<String>,
    pub workers: usize,
    pub search: Vec<String>,
    pub ndots: usize,
    pub queries: Counts,
    pub outcomes: Counts,
    pub background_queries: Counts,
    pub limits_reached: Counts,
    pub panics: u64,
    pub queries_waiting: usize,
    pub queries_in_flight: usize,
    pub cache: Cache,
    pub upstream: Upstream,
    pub forward_zones: Vec<ForwardZone>,
    pub memory: Option<Memory>,
    pub names: Option<Names>,
}

/// Numbers by label.
pub type Counts = BTreeMap<String, u64>;

/// The contents of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    pub entries: usize,
    pub bytes: u64,
    pub max_bytes: u64,
}

/// A forward zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardZone {
    pub zone: String,
    pub upstream: Upstream,
}

/// A group of servers, and the attempts at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub is_unavailable: bool,
    pub retry_budget: u32,
    pub attempts: Counts,
    pub retransmissions: u64,
    pub retry_budget_exhausted: u64,
    pub servers: Vec<Server>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub address: String,
    pub is_shared_tier: bool,
    pub is_ejected: bool,
    pub failures: u32,
    pub srtt_us: Option<u64>,
    pub rttvar_us: Option<u64>,
    pub last_response_s: Option<u64>,
    pub last_failure_s: Option<u64>,
    pub last_failure: Option<String>,
}

/// The memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub resident_bytes: u64,
    pub peak_resident_bytes: u64,
}

/// The most frequent names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    pub counted_for_s: u64,
    pub top: Vec<Name>,
}

/// A name with its number of queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    pub name: String,
    /// It may be too high by `error`, and is never too low.
    pub count: u64,
    pub error: u64,
}
