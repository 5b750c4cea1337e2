//! The gang experiment: the pods of a Job start together and look names up at one instant; when one of them fails, all
//! start again. Run one way after the other: as they are, and with what is meant to help.
//!
//! ```text
//!   job        a Job manifest -> the pods that the Job controller would make; pure
//!   arm        the ways to run them
//!   names      names to look up -> a world that has them; pure
//!   run        one way: a cluster of its own, all pods, a start signal, again when one failed -> figures
//!   figures    what came of it
//!   law        figures -> what is worse than without us; pure
//!   table      figures -> what is printed
//!   charts     figures -> what is drawn
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

/// Steps as columns, with their length.
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
