//! The output of the program `lookup`, the application in pods of the model.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The environment variable with the FIFO at which the program `lookup` waits before it starts.
pub const BARRIER_VARIABLE: &str = "LOOKUP_START_BARRIER";

/// The line that `lookup` prints before it waits.
pub const WAITING: &str = "waiting for the start";

/// The result of one lookup: a line of the output of the program `lookup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name as the application asked for it.
    pub name: String,
    /// The duration of getaddrinfo, in milliseconds.
    pub milliseconds: f64,
    /// The addresses that were found.
    pub addresses: Vec<IpAddr>,
    /// The error, if no address was found.
    pub error: Option<String>,
    /// Whether the application expected this result.
    pub as_expected: bool,
}

impl Lookup {
    /// Reads the output of `lookup`; other lines are ignored.
    pub fn read_all(output: &str) -> Vec<Self> {
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
