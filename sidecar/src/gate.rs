//! `await` and `health`: check from inside the container whether the running proxy is ready.

use std::io;
use std::time::Duration;

use podlocal_dns::report::http::Response;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::client;

/// Why the proxy is not ready, or why that is unknown.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// No program listens on the admin port, or the connection failed.
    #[error("no connection to the admin port {port}: {source}")]
    NoConnection {
        /// The admin port.
        port: u16,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The proxy answers that it is not ready, and what is missing.
    #[error("{0}")]
    NotReady(String),
    /// The time-out for the answer is over.
    #[error("the admin port {port} did not answer in time")]
    TimedOut {
        /// The admin port.
        port: u16,
    },
}

/// The time-out of one request to the admin port.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The first pause between two requests; the pause doubles up to [`MAX_PAUSE`]. It is short, because the
/// proxy starts in a few milliseconds, and every pod waits here.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Waits until the proxy is ready; the error after `max_wait` is the last reason why it is not.
pub async fn wait(port: u16, max_wait: Duration) -> Result<(), NotReady> {
    let deadline = Instant::now() + max_wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let reason = match timeout_at(deadline, check(port)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => NotReady::TimedOut { port },
        };
        if Instant::now() + pause >= deadline {
            return Err(reason);
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Sends one request.
pub async fn check(port: u16) -> Result<(), NotReady> {
    let answer = timeout(REQUEST_TIMEOUT, client::get(port, "/readyz"))
        .await
        .map_err(|_| NotReady::TimedOut { port })?;
    match answer.map_err(|source| NotReady::NoConnection { port, source })? {
        Response { status: Some(200), .. } => Ok(()),
        Response { body, .. } => Err(NotReady::NotReady(body.trim().to_owned())),
    }
}
