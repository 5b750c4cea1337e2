//! Runs a pod on its thread: starts the containers in the same order as the kubelet.
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

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::container::Container;
use super::process::Process;
use super::sandbox::Sandbox;
use super::status::Status;
use crate::failure::{Failure, WithContext};

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The longest wait before the next container, when the sidecar does not listen.
const CREATION: Duration = Duration::from_secs(1);

/// Runs the pod until its applications have ended, or until nobody watches its status any more.
pub(super) async fn run(sandbox: &Sandbox, status: watch::Sender<Status>) {
    let failure = match sandbox.enter().await {
        // Process 1 is dropped at the end of this arm.
        Ok(_first) => tokio::select! {
            ended = run_containers(sandbox, &status) => ended.err(),
            () = status.closed() => None,
        },
        Err(failure) => Some(failure),
    };
    status.send_modify(|status| {
        status.finished = true;
        status.failure = failure.map(|failure| failure.to_string());
    });
}

async fn run_containers(sandbox: &Sandbox, status: &watch::Sender<Status>) -> Result<(), Failure> {
    for container in Container::list(sandbox, "initContainers") {
        let name = container.name();
        let mut process = Process::start(container, status)?;
        if container.is_native_sidecar() {
            match container.post_start() {
                Some(words) => {
                    let executed = container.execute(&words).await?;
                    if !executed.is_success {
                        let hook = format!("the postStart hook of container {name}");
                        return Err(Failure::new(format!("{hook}: {executed:?}")));
                    }
                }
                None => wait_until_listening(&mut process).await,
            }
            tokio::spawn(process.finish());
        } else {
            let exit = process.finish().await.with_context("waiting for an init container")?;
            if !exit.success() {
                return Err(Failure::new(format!("init container {name} ended with {exit}")));
            }
        }
    }
    let applications = Container::list(sandbox, "containers").into_iter();
    let started: Vec<_> = applications.map(|it| Process::start(it, status)).collect::<Result<_, _>>()?;
    join_all(started.into_iter().map(Process::finish)).await;
    Ok(())
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
        _ = process.ended() => {}
        () = sleep(CREATION) => {}
    }
}

/// Whether a UDP socket of this thread's network namespace is bound to the port (proc_pid_net(5): addresses in
/// hexadecimal).
fn is_bound(port: u16) -> bool {
    let tables = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"].map(std::fs::read_to_string);
    let suffix = format!(":{port:04X}");
    let mut lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    lines.any(|line| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&suffix)))
}
