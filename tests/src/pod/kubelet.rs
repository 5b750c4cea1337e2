//! Process 1 of a pod: runs its containers in the order in which the kubelet runs them.
//!
//! ```text
//!   initContainers  one after the other: each has to end well before the next one starts,
//!                   but a native sidecar (restartPolicy: Always) only has to start, and its postStart hook
//!                   to return; it is started again whenever it ends
//!   containers      all at once, then until all have ended
//!   sidecars        SIGTERM, the last one first, SIGKILL after the grace period
//! ```
//!
//! Not as the kubelet does it: application containers are not started again, whatever `restartPolicy` says
//! (an experiment wants to see the first run), and probes are not run.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::container::{Container, Process};
use super::protocol::{Command, Event, Executed, Exit, Sandbox, Stream};
use crate::failure::Failure;

/// `terminationGracePeriodSeconds` where the pod has none.
const GRACE: Duration = Duration::from_secs(30);

/// The kubelet's longest wait before a restart: `MaxContainerBackOff`.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// Runs the pod to its end; `Some`: why it failed before its application could run.
pub(super) async fn run(sandbox: Sandbox) -> Option<String> {
    let pod = Arc::new(Pod { sandbox, processes: Mutex::default(), deleted: watch::Sender::new(false) });
    tokio::spawn(obey(Arc::clone(&pod)));
    let mut sidecars = Vec::new();
    let result = run_containers(&pod, &mut sidecars).await;
    while let Some(sidecar) = sidecars.pop() {
        sidecar.stop().await;
    }
    result.err().map(|failure| failure.to_string())
}

/// Reports an event.
pub(super) fn emit(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        // The experiment that would read it may be gone; then the pod is about to be.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

#[derive(Debug)]
struct Pod {
    sandbox: Sandbox,
    /// The first process of each running container.
    processes: Mutex<BTreeMap<String, Pid>>,
    /// Whether the pod has been deleted.
    deleted: watch::Sender<bool>,
}

async fn run_containers(pod: &Arc<Pod>, sidecars: &mut Vec<Sidecar>) -> Result<(), Failure> {
    for container in Container::list(&pod.sandbox, "initContainers") {
        if container.is_native_sidecar() {
            sidecars.push(Sidecar::start(pod, container.name()).await);
        } else {
            run_init_container(pod, container).await?;
        }
        if *pod.deleted.borrow() {
            return Err(Failure::new("the pod was deleted before its application started"));
        }
    }
    let applications = Container::list(&pod.sandbox, "containers");
    let runs = join_all(applications.into_iter().map(|container| pod.run_once(container))).await;
    runs.into_iter().collect::<Result<Vec<_>, _>>().map(|_| ())
}

/// Again and again with growing pauses, unless the pod's restartPolicy is Never.
async fn run_init_container(pod: &Pod, container: Container<'_>) -> Result<(), Failure> {
    let mut pause = Duration::ZERO;
    loop {
        let exit = pod.run_once(container).await?;
        if exit.is_success() || *pod.deleted.borrow() {
            return Ok(());
        }
        if pod.sandbox.pod["spec"]["restartPolicy"] == "Never" {
            return Err(Failure::new(format!("init container {} ended with {exit:?}", container.name())));
        }
        pause = pod.pause_before_restart(pause).await;
    }
}

impl Pod {
    /// Starts a container and waits until it ends, or until the pod is deleted and the container is ended.
    async fn run_once(&self, container: Container<'_>) -> Result<Exit, Failure> {
        let mut process = self.start(container)?;
        self.run_post_start(container).await;
        let mut deleted = self.deleted.subscribe();
        let exit = tokio::select! {
            exit = process.wait() => exit,
            _ = deleted.wait_for(|deleted| *deleted) => {
                if let Some(words) = container.hook("preStop") {
                    let _ = self.execute(container, &words).await;
                }
                process.terminate(self.grace()).await
            }
        };
        self.ended(container.name(), exit);
        Ok(exit)
    }

    fn start(&self, container: Container<'_>) -> Result<Process, Failure> {
        let name = container.name().to_owned();
        let write = {
            let container = name.clone();
            move |stream, line| emit(&Event::Output { container: container.clone(), stream, line })
        };
        let process = Process::start(container, &container.words(), write)?;
        if let Some(id) = process.id() {
            self.processes().insert(name.clone(), id);
        }
        emit(&Event::Started { container: name, at: now() });
        Ok(process)
    }

    /// Whether the hook went well; the container is reported as ready when it did.
    async fn run_post_start(&self, container: Container<'_>) -> bool {
        let name = container.name().to_owned();
        if let Some(words) = container.hook("postStart") {
            let executed = self.execute(container, &words).await;
            if !executed.exit.is_success() {
                let line =
                    format!("postStart hook: {:?} {}{}", executed.exit, executed.output, executed.error);
                emit(&Event::Output { container: name, stream: Stream::Error, line });
                return false;
            }
        }
        emit(&Event::Ready { container: name, at: now() });
        true
    }

    async fn execute(&self, container: Container<'_>, words: &[String]) -> Executed {
        let written = Arc::new(Mutex::new((String::new(), String::new())));
        let write = {
            let written = Arc::clone(&written);
            move |stream, line: String| {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                let text = if stream == Stream::Out { &mut written.0 } else { &mut written.1 };
                *text += &line;
                text.push('\n');
            }
        };
        match Process::start(container, words, write) {
            Ok(mut process) => {
                let exit = process.wait().await;
                let (output, error) = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Executed { exit, output, error }
            }
            Err(failure) => {
                Executed { exit: Exit::Code(127), output: String::new(), error: failure.to_string() }
            }
        }
    }

    fn ended(&self, container: &str, exit: Exit) {
        self.processes().remove(container);
        emit(&Event::Exited { container: container.to_owned(), exit, at: now() });
    }

    fn grace(&self) -> Duration {
        let seconds = self.sandbox.pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        seconds.map_or(GRACE, Duration::from_secs)
    }

    /// Waits before a restart, and returns the pause for the next one: none, 10 s, 20 s, 40 s ... as
    /// `doBackOff` of pkg/kubelet/kuberuntime has it.
    async fn pause_before_restart(&self, pause: Duration) -> Duration {
        let mut deleted = self.deleted.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            _ = deleted.wait_for(|deleted| *deleted) => {}
        }
        (pause * 2).clamp(self.sandbox.back_off, LONGEST_BACK_OFF)
    }

    fn processes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pid>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A native sidecar, kept running by a task of its own.
#[derive(Debug)]
struct Sidecar {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sidecar {
    /// Starts it; returns when the next container may start.
    async fn start(pod: &Arc<Pod>, name: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = oneshot::channel();
        let task = tokio::spawn(supervise(Arc::clone(pod), name.to_owned(), ready, stopped));
        // An error: the task has ended, because the container cannot be started at all; it has said so.
        let _ = is_ready.await;
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

async fn supervise(
    pod: Arc<Pod>,
    name: String,
    ready: oneshot::Sender<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let Some(container) = Container::find(&pod.sandbox, &name) else { return };
    let (mut ready, mut pause) = (Some(ready), Duration::ZERO);
    loop {
        let mut process = match pod.start(container) {
            Ok(process) => process,
            Err(failure) => {
                emit(&Event::Output { container: name, stream: Stream::Error, line: failure.to_string() });
                return;
            }
        };
        // The kubelet kills a container whose hook fails, and starts it again.
        let went_well = pod.run_post_start(container).await;
        if went_well && let Some(ready) = ready.take() {
            let _ = ready.send(());
        }
        let is_to_stop = tokio::select! {
            exit = process.wait(), if went_well => { pod.ended(&name, exit); false }
            _ = stopped.wait_for(|stopped| *stopped), if went_well => true,
            else => false,
        };
        if is_to_stop || !went_well {
            let exit = process.terminate(pod.grace()).await;
            pod.ended(&name, exit);
        }
        if is_to_stop {
            return;
        }
        tokio::select! {
            next = pod.pause_before_restart(pause) => pause = next,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        if *pod.deleted.borrow() && ready.is_some() {
            return;
        }
    }
}

/// Does what the experiment asks, until it goes away; then the pod has no reason to be.
async fn obey(pod: Arc<Pod>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Command::Execute { id, container, words }) => {
                let pod = Arc::clone(&pod);
                tokio::spawn(async move {
                    let executed = match Container::find(&pod.sandbox, &container) {
                        Some(container) => pod.execute(container, &words).await,
                        None => Executed {
                            exit: Exit::Code(127),
                            output: String::new(),
                            error: format!("the pod has no container {container}"),
                        },
                    };
                    emit(&Event::Executed { id, executed });
                });
            }
            Ok(Command::Signal { container, signal }) => {
                let id = pod.processes().get(&container).copied();
                if let (Some(id), Ok(signal)) = (id, Signal::try_from(signal)) {
                    let _ = kill(id, signal);
                }
            }
            Ok(Command::Delete) => {
                pod.deleted.send_replace(true);
            }
            Err(error) => eprintln!("pod-sandbox: {line:?} is not a command: {error}"),
        }
    }
    std::process::exit(1);
}

fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}
