//! What the experiment and a pod's process say to each other: a [`Sandbox`] in a file to begin with, then
//! one JSON document per line, [`Command`]s in and [`Event`]s out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Commands of containers that name none, by container: what is the entry point of an image.
    pub(super) entry_points: BTreeMap<String, Vec<String>>,
    /// Variables that every container gets besides its own.
    pub(super) environment: BTreeMap<String, String>,
    /// The containers that get an empty root directory with nothing but their program in it.
    pub(super) empty_roots: BTreeSet<String>,
    /// A directory for the pod's files.
    pub(super) directory: PathBuf,
    /// How long the second restart of a container waits; the kubelet's is 10 s, doubling.
    pub(super) back_off: Duration,
}

/// What the experiment asks of a running pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(super) enum Command {
    /// Runs a program in a container, as `kubectl exec` does.
    Execute {
        /// Comes back in [`Event::Executed`].
        id: u64,
        /// In which container: its user, its environment.
        container: String,
        /// Program and arguments.
        words: Vec<String>,
    },
    /// Sends a signal, by number, to the first process of a container.
    Signal {
        /// Which container.
        container: String,
        /// SIGTERM is 15.
        signal: i32,
    },
    /// Deletes the pod: the application gets SIGTERM, then the sidecars.
    Delete,
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
    /// A container's postStart hook has returned, or it has none: what comes after it may start.
    Ready {
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
    /// The answer to [`Command::Execute`].
    Executed {
        /// The id of the command.
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
