//! The gang experiment: the pods of a Job start together and look up names at the same time; when one of them
//! fails, all are restarted. The arms of the experiment run one after the other: unchanged pods, and pods
//! with a remedy.
//!
//! ```text
//!   job        a Job manifest -> the pods that the Job controller would make; pure
//!   arm        the arms of the experiment
//!   names      names to look up -> a world that contains them; pure
//!   run        one arm: a separate cluster, all pods, a start signal, restarts after a failure -> figures
//!   figures    the results of an arm
//!   law        figures -> regressions compared with pods that are not injected; pure
//!   table      figures -> the printed table
//!   charts     figures -> the plots
//!   cluster    the same arms on a real cluster
//! ```

pub mod arm;
pub mod charts;
pub mod cluster;
pub mod figures;
pub mod job;
pub mod law;
pub mod names;
mod progress;
pub mod run;
pub mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use crate::cluster_dns::{STEP, Step};

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

/// Serializes the steps as columns, with the length of a step.
fn steps_as_json<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    let column = |of: fn(&Step) -> u64| steps.iter().map(of).collect::<Vec<_>>();
    serde_json::json!({
        "milliseconds": STEP.as_millis() as u64,
        "asked": column(|step| step.asked),
        "answered": column(|step| step.answered),
        "dropped": column(|step| step.dropped),
    })
    .serialize(serializer)
}
