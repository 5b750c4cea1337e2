//! The protocol between the experiment and the process of a pod: first a [`Sandbox`] in a file, then one JSON
//! document per line, [`Command`]s in and [`Event`]s out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resolv_conf::ClusterNames;

/// The parameters of a pod's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sandbox {
    /// The admitted pod.
    pub(super) pod: Value,
    /// Its namespace.
    pub(super) namespace: String,
    /// Its address, on the node's bridge.
    pub(super) address: Ipv4Addr,
    /// The name of its link on the node.
    pub(super) link: String,
    /// The DNS settings of the kubelet.
    pub(super) cluster: ClusterNames,
    /// Programs by their name in a container's command; other names are programs of the machine.
    pub(super) programs: BTreeMap<String, PathBuf>,
    /// Additional environment variables for every container.
    pub(super) environment: BTreeMap<String, String>,
    /// A directory for the pod's files.
    pub(super) directory: PathBuf,
}

/// A request to a running pod to run a program in a container, as `kubectl exec` does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Command {
    /// The id, which [`Event::Executed`] repeats.
    pub(super) id: u64,
    /// The container whose user and environment the program gets.
    pub(super) container: String,
    /// Program and arguments.
    pub(super) words: Vec<String>,
}

/// An event in a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The process of a container was started.
    Started {
        container: String,
        /// The time, in seconds since 1970.
        at: f64,
    },
    /// A container wrote a line.
    Output {
        container: String,
        stream: Stream,
        /// The line without the line break; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// A container's process ended.
    Exited {
        container: String,
        exit: Exit,
        /// The time, in seconds since 1970.
        at: f64,
    },
    /// The answer to a [`Command`].
    Executed { id: u64, executed: Executed },
    /// The pod has ended; the last event.
    Finished {
        /// The reason when the pod failed before its application could run.
        failure: Option<String>,
    },
}

/// One of the two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stream {
    Out,
    Error,
}

/// The exit status of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Whether the exit code is 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// The result of a program that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// The exit status.
    pub exit: Exit,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub error: String,
}
