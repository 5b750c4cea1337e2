//! `await` and `health`: asking the running proxy whether it is ready, from inside its container.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::client::{self, Answer};

/// Why the proxy is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody listens on the admin port, or the connection broke.
    #[error("nobody answers on the admin port {port}: {source}")]
    NobodyThere {
        /// The port that was asked.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// The proxy says so itself, and what is missing.
    #[error("{0}")]
    Missing(String),
    /// No whole answer in time.
    #[error("no answer on the admin port {port} in time")]
    Silent {
        /// The port that was asked.
        port: u16,
    },
}

/// How long one question to the admin port may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The first pause between two questions; each is twice the one before, up to [`LONGEST_PAUSE`]. The proxy
/// starts in a few milliseconds, and every pod waits here.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Waits until the proxy is ready, for `longest` at most; then the last reason why it is not.
pub async fn wait(port: u16, longest: Duration) -> Result<(), NotReady> {
    let deadline = Instant::now() + longest;
    let mut pause = FIRST_PAUSE;
    loop {
        let reason = match timeout_at(deadline, check(port)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => NotReady::Silent { port },
        };
        if Instant::now() + pause >= deadline {
            return Err(reason);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks once.
pub async fn check(port: u16) -> Result<(), NotReady> {
    let answer =
        timeout(PATIENCE, client::get(port, "/readyz")).await.map_err(|_| NotReady::Silent { port })?;
    match answer.map_err(|source| NotReady::NobodyThere { port, source })? {
        Answer { status: Some(200), .. } => Ok(()),
        Answer { body, .. } => Err(NotReady::Missing(body.trim().to_owned())),
    }
}
