//! Process 1 of a pod: starts the containers in the same order as the kubelet.
//!
//! ```text
//!   initContainers  one after the other: each must succeed before the next one starts, but a native sidecar
//!                   (restartPolicy: Always) only has to start, and its postStart hook to succeed. The model
//!                   waits until the sidecar listens; a real kubelet needs longer for the next container
//!   containers      all together; when all have ended, process 1 ends, and the kernel kills the sidecars
//! ```
//!
//! The model does not restart containers, runs no probes, and does not terminate pods gracefully. These are
//! tested on a real node (`tests/cluster/faults/sidecar.rs`, `tests/cluster/injection`).

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::time::now;
use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::sleep;

use super::container::{Container, Process};
use super::protocol::{Command, Event, Executed, Exit, Sandbox, Stream};
use crate::failure::Failure;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The longest wait before the next container, when the sidecar does not listen.
const CREATION: Duration = Duration::from_secs(1);

/// Runs the pod until its applications have ended. Returns the reason when they could not run.
pub(super) async fn run(sandbox: Sandbox) -> Option<String> {
    let sandbox = Arc::new(sandbox);
    tokio::spawn(run_commands(Arc::clone(&sandbox)));
    run_containers(&sandbox).await.err().map(|failure| failure.to_string())
}

/// Reports an event.
pub(super) fn emit(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        // The experiment that reads events may have ended; then the pod is about to end as well.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

async fn run_containers(sandbox: &Sandbox) -> Result<(), Failure> {
    for container in Container::list(sandbox, "initContainers") {
        let mut process = start(container)?;
        if container.is_native_sidecar() {
            match container.post_start() {
                Some(words) => {
                    let executed = execute(container, &words).await;
                    if !executed.exit.is_success() {
                        let name = container.name();
                        return Err(Failure::new(format!(
                            "the postStart hook of container {name}: {executed:?}"
                        )));
                    }
                }
                None => wait_until_listening(&mut process).await,
            }
            tokio::spawn(wait(container.name().to_owned(), process));
        } else {
            let exit = wait(container.name().to_owned(), process).await;
            if !exit.is_success() {
                return Err(Failure::new(format!("init container {} ended with {exit:?}", container.name())));
            }
        }
    }
    let applications = Container::list(sandbox, "containers").into_iter();
    let started: Vec<_> = applications.map(|it| Ok((it, start(it)?))).collect::<Result<_, Failure>>()?;
    join_all(started.into_iter().map(|(container, process)| wait(container.name().to_owned(), process)))
        .await;
    Ok(())
}

fn start(container: Container<'_>) -> Result<Process, Failure> {
    let name = container.name().to_owned();
    let write = {
        let container = name.clone();
        move |stream, line| emit(&Event::Output { container: container.clone(), stream, line })
    };
    let process = Process::start(container, &container.words(), write)?;
    emit(&Event::Started { container: name, at: now() });
    Ok(process)
}

/// Waits until the process has ended, and reports the end.
async fn wait(container: String, mut process: Process) -> Exit {
    let exit = process.wait().await;
    emit(&Event::Exited { container, exit, at: now() });
    exit
}

/// Waits until something in the pod listens on port 53, or the sidecar has ended, at most [`CREATION`].
async fn wait_until_listening(process: &mut Process) {
    let listens = async {
        while !is_bound(DNS_PORT) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = listens => {}
        _ = process.wait() => {}
        () = sleep(CREATION) => {}
    }
}

/// Whether a UDP socket of this network namespace is bound to the port (proc_pid_net(5): addresses in
/// hexadecimal).
fn is_bound(port: u16) -> bool {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"].map(std::fs::read_to_string);
    let suffix = format!(":{port:04X}");
    let mut lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    lines.any(|line| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&suffix)))
}

async fn execute(container: Container<'_>, words: &[String]) -> Executed {
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
        Err(failure) => not_executed(failure.to_string()),
    }
}

fn not_executed(error: String) -> Executed {
    Executed { exit: Exit::Code(127), output: String::new(), error }
}

/// Executes commands until the experiment has ended, which also ends the pod.
async fn run_commands(sandbox: Arc<Sandbox>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Command { id, container, words }) = serde_json::from_str(&line) else {
            eprintln!("pod-sandbox: {line:?} is not a command");
            continue;
        };
        let sandbox = Arc::clone(&sandbox);
        tokio::spawn(async move {
            let executed = match Container::find(&sandbox, &container) {
                Some(container) => execute(container, &words).await,
                None => not_executed(format!("the pod has no container {container}")),
            };
            emit(&Event::Executed { id, executed });
        });
    }
    std::process::exit(1);
}
