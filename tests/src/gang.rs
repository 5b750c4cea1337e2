//! The gang experiment: the pods of a Job start together and look names up at one instant, once as they are
//! and once with the webhook and the sidecar.
//!
//! ```text
//!   job      a Job manifest -> the pods that the Job controller would make; pure
//!   arm      one way to run them: a cluster of its own, all pods, one start signal -> figures
//!   table    figures -> what is printed
//! ```

pub mod arm;
pub mod job;
pub mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Names the FIFO that the program `lookup` waits at before it begins.
pub const BARRIER_VARIABLE: &str = "LOOKUP_START_BARRIER";

/// What `lookup` prints before it waits.
pub const WAITING: &str = "waiting for the start";

/// What came of one look-up; a line of the output of the program `lookup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name as the application asked for it.
    pub name: String,
    /// How long getaddrinfo took, in milliseconds.
    pub milliseconds: f64,
    /// What it found.
    pub addresses: Vec<IpAddr>,
    /// Its error, where it found nothing.
    pub error: Option<String>,
    /// Whether that is what the application expected.
    pub as_expected: bool,
}

impl Lookup {
    /// Reads what `lookup` has printed; other lines are passed over.
    pub fn read_all(output: &str) -> Vec<Self> {
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
