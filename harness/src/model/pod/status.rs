//! The status of a pod.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitStatus;

/// The status of a pod.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Its containers that have started, by name.
    pub containers: BTreeMap<String, ContainerStatus>,
    /// Whether it has ended.
    pub finished: bool,
    /// The reason when it has failed for another cause than an application's exit code.
    pub failure: Option<String>,
}

/// The status of a container.
#[derive(Debug, Clone, Default)]
pub struct ContainerStatus {
    /// The exit status, and its time in seconds since 1970; `None` while it runs.
    pub exit: Option<(ExitStatus, f64)>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub error: String,
}

impl Status {
    /// A container that has started.
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.get(name)
    }

    /// The exit status of a container.
    pub fn exit(&self, name: &str) -> Option<ExitStatus> {
        self.container(name)?.exit.map(|(exit, _)| exit)
    }

    /// The complete status, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let failure = self.failure.as_deref().unwrap_or("no failure of its own");
        // Writing to a string does not fail.
        let _ = writeln!(text, "pod: finished: {}, {failure}", self.finished);
        for (name, container) in &self.containers {
            let ContainerStatus { exit, output, error, .. } = container;
            let _ = writeln!(text, "container {name}: exit: {exit:?}");
            for line in output.lines().chain(error.lines()) {
                let _ = writeln!(text, "  | {line}");
            }
        }
        text
    }
}
