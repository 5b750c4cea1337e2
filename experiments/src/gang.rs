//! The gang experiment: the pods of a Job start together and look up names at the same time; when one of them
//! fails, all are restarted. The arms of the experiment run one after the other: unchanged pods, and pods
//! with a remedy.
//!
//! ```text
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
pub mod law;
pub mod names;
mod progress;
pub mod run;
pub mod table;

use serde::{Serialize, Serializer};

use podlocal_harness::model::cluster_dns::{STEP, Step};

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
