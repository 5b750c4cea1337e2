//! The process of a container, which reports to the status of the pod.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::container::Container;
use super::status::{ContainerStatus, Status};
use crate::failure::{Failure, WithContext};
use crate::time::now;

/// The time-out for output after a process has ended; a child process may keep the pipe open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A process of a container.
#[derive(Debug)]
pub(super) struct Process {
    reports: Reports,
    child: Child,
    output: JoinSet<()>,
}

/// The place of a container in the status of its pod.
#[derive(Debug, Clone)]
struct Reports {
    container: String,
    status: watch::Sender<Status>,
}

impl Process {
    /// Starts the container's program.
    pub(super) fn start(container: Container<'_>, status: &watch::Sender<Status>) -> Result<Self, Failure> {
        let reports = Reports { container: container.name().to_owned(), status: status.clone() };
        let mut command = container.command(&container.words())?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting container {}", container.name()))?;
        // It appears among the containers that have started.
        reports.change(|_| ());
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(forward(stdout, reports.clone(), |container| &mut container.output));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(forward(stderr, reports.clone(), |container| &mut container.error));
        }
        Ok(Self { reports, child, output })
    }

    /// Waits until it has ended. Can be cancelled and called again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits until it has ended and all output is read, and reports the end.
    pub(super) async fn finish(mut self) -> io::Result<ExitStatus> {
        let exit = self.ended().await;
        let _ = timeout(LAST_OUTPUT, async { while self.output.join_next().await.is_some() {} }).await;
        self.reports.change(|container| container.exit = exit.as_ref().ok().map(|exit| (*exit, now())));
        exit
    }
}

impl Reports {
    fn change(&self, change: impl FnOnce(&mut ContainerStatus)) {
        self.status
            .send_modify(|status| change(status.containers.entry(self.container.clone()).or_default()));
    }
}

async fn forward(
    from: impl AsyncRead + Unpin,
    reports: Reports,
    text_of: fn(&mut ContainerStatus) -> &mut String,
) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        reports.change(|container| {
            let text = text_of(container);
            *text += &String::from_utf8_lossy(&line);
            text.push('\n');
        });
    }
}
