//! What the experiment and a pod's process say to each other: a [`Sandbox`] in a file to begin with, then
//! one JSON document per line, [`Command`]s in and [`Event`]s out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resolv_conf::ClusterNames;

/// Everything that a pod's process has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sandbox {
    /// The pod, after admission.
    pub(super) pod: Value,
    /// Its namespace.
    pub(super) namespace: String,
    /// Its address, on the node's bridge.
    pub(super) address: Ipv4Addr,
    /// The name of its link on the node.
    pub(super) link: String,
    /// What the kubelet knows about DNS.
    pub(super) cluster: ClusterNames,
    /// Programs by the name that a container's command gives them; other names are the machine's programs.
    pub(super) programs: BTreeMap<String, PathBuf>,
    /// Variables that every container gets besides its own.
    pub(super) environment: BTreeMap<String, String>,
    /// A directory for the pod's files.
    pub(super) directory: PathBuf,
}

/// Asks a running pod to run a program in a container, as `kubectl exec` does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Command {
    /// Comes back in [`Event::Executed`].
    pub(super) id: u64,
    /// In which container: its user, its environment.
    pub(super) container: String,
    /// Program and arguments.
    pub(super) words: Vec<String>,
}

/// What a pod reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// A container's process runs.
    Started {
        /// Which container.
        container: String,
        /// When, in seconds since 1970.
        at: f64,
    },
    /// A container wrote a line.
    Output {
        /// Which container.
        container: String,
        /// Where to.
        stream: Stream,
        /// What, without the line break; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// A container's process ended.
    Exited {
        /// Which container.
        container: String,
        /// How.
        exit: Exit,
        /// When, in seconds since 1970.
        at: f64,
    },
    /// The answer to a [`Command`].
    Executed {
        id: u64,
        /// What came of it.
        executed: Executed,
    },
    /// The pod has ended; the last event.
    Finished {
        /// Nothing, or why the pod has failed before its application could run.
        failure: Option<String>,
    },
}

/// Which of the two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// How a process ended: by itself, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Exit code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What came of a program that was run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub error: String,
}
