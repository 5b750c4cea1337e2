//! The page of figures: what the proxy has done since it started, and how it is.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that `stats` shows.
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
    /// What the proxy did of its own accord.
    pub assists: Counts,
    /// How often bounds were full.
    pub limits_reached: Counts,
    /// Panics that were survived.
    pub panics: u64,
    /// Clients that wait at this moment.
    pub waiting: usize,
    /// Questions under way to the upstream at this moment.
    pub flights: usize,
    /// The cache.
    pub cache: Cache,
    /// Whom it asks.
    pub upstream: Upstream,
    /// Whom it asks for names of forward zones.
    pub forward_zones: Vec<ForwardZone>,
    /// Its memory; `None` where there is no `/proc`.
    pub memory: Option<Memory>,
    /// The most frequent names, if somebody asked for them.
    pub names: Option<Names>,
}

/// Numbers by label.
pub type Counts = BTreeMap<String, u64>;

/// What is in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Answers, fresh or not.
    pub entries: usize,
    /// The memory that they take.
    pub bytes: u64,
    /// The most that they may take.
    pub most_bytes: u64,
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
    /// Whether all are known to fail or to be silent.
    pub is_down: bool,
    /// Attempts beyond the first that could be paid for at this moment.
    pub retry_budget: u32,
    /// Attempts, by how they ended.
    pub attempts: Counts,
    /// Attempts beyond an exchange's first.
    pub hedges: u64,
    /// Attempts that were not made because the retry budget was empty.
    pub budget_exhausted: u64,
    /// The shared tier, then the others, in order of preference.
    pub servers: Vec<Server>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// Whether it is of the shared tier.
    pub tier: bool,
    /// Whether it has failed so often that it is asked last.
    pub stepped_back: bool,
    /// Its failures in a row.
    pub failures: u32,
    /// How long it takes, smoothed (RFC 6298); `None`: it has not answered yet.
    pub round_trip_us: Option<u64>,
    /// How much that varies.
    pub variation_us: Option<u64>,
    /// How long ago it last gave any response.
    pub last_response_s: Option<u64>,
    /// How long ago an attempt last brought nothing or an error.
    pub last_failure_s: Option<u64>,
    /// Which: the label of `podlocal_dns_upstream_exchanges_total`.
    pub last_failure: Option<String>,
}

/// The memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What it takes (VmRSS of proc(5)).
    pub resident_bytes: u64,
    /// The most that it took (VmHWM).
    pub most_resident_bytes: u64,
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
        Some(Self { resident_bytes: bytes("VmRSS:")?, most_resident_bytes: bytes("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tx\nVmHWM:\t    3100 kB\nVmRSS:\t    2988 kB\n";
        let memory = Memory { resident_bytes: 2988 << 10, most_resident_bytes: 3100 << 10 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("Name:\tx\nVmRSS:\tmuch\n"), None);
    }
}
