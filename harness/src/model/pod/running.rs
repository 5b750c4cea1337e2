//! A running pod, and its status.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Program};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::protocol::{Command, Event, Executed, Exit, Sandbox, Stream};
use crate::failure::{Failure, WithContext};

/// The time-out for every wait for a pod. It is far above the usual time, and is reached only after a
/// failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// The status of a pod.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Its containers that have started, by name.
    pub containers: BTreeMap<String, ContainerStatus>,
    /// Whether it has ended.
    pub finished: bool,
    /// The reason when it has failed for another cause than an application's exit code.
    pub failure: Option<String>,
    executed: BTreeMap<u64, Executed>,
}

/// The status of a container.
#[derive(Debug, Clone, Default)]
pub struct ContainerStatus {
    /// When it was started, in seconds since 1970.
    pub started_at: f64,
    /// The exit statuses with their times, in seconds since 1970; empty while it runs.
    pub exits: Vec<(Exit, f64)>,
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
    pub fn exit(&self, name: &str) -> Option<Exit> {
        self.container(name)?.exits.first().map(|(exit, _)| *exit)
    }

    /// The complete status, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let failure = self.failure.as_deref().unwrap_or("no failure of its own");
        // Writing to a string does not fail.
        let _ = writeln!(text, "pod: finished: {}, {failure}", self.finished);
        for (name, container) in &self.containers {
            let ContainerStatus { exits, output, error, .. } = container;
            let _ = writeln!(text, "container {name}: exit: {:?}", exits.first().map(|(exit, _)| exit));
            for line in output.lines().chain(error.lines()) {
                let _ = writeln!(text, "  | {line}");
            }
        }
        text
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Started { container, at } => {
                self.containers.entry(container).or_default().started_at = at;
            }
            Event::Output { container, stream, line } => {
                let container = self.containers.entry(container).or_default();
                let text = match stream {
                    Stream::Out => &mut container.output,
                    Stream::Error => &mut container.error,
                };
                *text += &line;
                text.push('\n');
            }
            Event::Exited { container, exit, at } => {
                self.containers.entry(container).or_default().exits.push((exit, at));
            }
            Event::Executed { id, executed } => {
                self.executed.insert(id, executed);
            }
            Event::Finished { failure } => {
                self.finished = true;
                // Only the first reason counts.
                self.failure = self.failure.take().or(failure);
            }
        }
    }
}

/// A pod that runs or has ended. Dropping it ends the pod.
#[derive(Debug)]
pub struct Running {
    address: Ipv4Addr,
    status: watch::Receiver<Status>,
    commands: Mutex<ChildStdin>,
    next_id: AtomicU64,
    directory: PathBuf,
    /// Kills the pod's outermost process when dropped; the kernel then kills the other processes.
    _process: Child,
}

impl Running {
    /// Starts the program `pod-sandbox`.
    pub(super) fn start(sandbox: &Sandbox, program: &Path, directory: PathBuf) -> Result<Self, Failure> {
        let file = directory.join("sandbox.json");
        let text = serde_json::to_vec(sandbox).with_context("writing the pod")?;
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let mut process = Program::new(program)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let (Some(commands), Some(events)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Failure::new("the pod's process has no standard input or output"));
        };
        let (sender, status) = watch::channel(Status::default());
        tokio::spawn(collect(events, sender));
        Ok(Self {
            address: sandbox.address,
            status,
            commands: Mutex::new(commands),
            next_id: AtomicU64::new(0),
            directory,
            _process: process,
        })
    }

    /// The pod's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The current status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits for a condition, at most one minute. Fails early when the pod has ended.
    pub async fn wait_for(
        &self,
        what: &str,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Status, Failure> {
        let mut status = self.status.clone();
        let mut met = false;
        let is_decided = |status: &Status| {
            met = condition(status);
            met || status.finished
        };
        let waited = timeout(DEADLINE, status.wait_for(is_decided)).await;
        let in_time = matches!(waited, Ok(Ok(_)));
        drop(waited);
        if met && in_time {
            return Ok(self.status());
        }
        let why = if in_time { "the pod has ended" } else { "the deadline has passed" };
        Err(Failure::new(format!("waiting for {what}: {why}\n{}", self.status().describe())))
    }

    /// Waits until a container has been started.
    pub async fn wait_until_started(&self, container: &str) -> Result<Status, Failure> {
        self.wait_for(&format!("container {container}"), |status| status.container(container).is_some()).await
    }

    /// Waits until the pod has ended.
    pub async fn wait_until_finished(&self) -> Result<Status, Failure> {
        self.wait_for("the end of the pod", |status| status.finished).await
    }

    /// Runs a program in a container, as `kubectl exec` does.
    pub async fn execute(&self, container: &str, words: &[&str]) -> Result<Executed, Failure> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let what = format!("the end of {}", words.join(" "));
        self.send(&Command { id, container: container.to_owned(), words }).await?;
        let mut status = self.wait_for(&what, |status| status.executed.contains_key(&id)).await?;
        status.executed.remove(&id).with_context("the result of the command is missing")
    }

    async fn send(&self, command: &Command) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(command).with_context("writing a command")?;
        line.push(b'\n');
        self.commands.lock().await.write_all(&line).await.with_context("sending a command to the pod")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Remaining files are gone with the node.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Updates the status with the pod's events.
async fn collect(events: ChildStdout, status: watch::Sender<Status>) {
    let mut lines = BufReader::new(events).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Event>(&line) {
            Ok(event) => status.send_modify(|status| status.apply(event)),
            Err(error) => eprintln!("a pod printed {line:?}, which is not an event: {error}"),
        }
    }
    status.send_modify(|status| {
        if !status.finished {
            status.finished = true;
            status.failure = Some("the pod's process has died".to_owned());
        }
    });
}
