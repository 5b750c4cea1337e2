//! A program of the product as a process on the node, which runs until it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, WithContext};

/// The time-out for the start.
const DEADLINE: Duration = Duration::from_secs(30);

/// The interval at which the log is polled during the start.
const POLL: Duration = Duration::from_millis(10);

/// A running program, with its log in a file; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    what: &'static str,
    log: PathBuf,
    process: Child,
}

impl Daemon {
    /// Starts `program`. Returns when `is_ready` finds in the log that it serves, with the value that it finds.
    pub(super) async fn start<T>(
        what: &'static str,
        program: &Path,
        arguments: &[&str],
        log: PathBuf,
        is_ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T), Failure> {
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let process = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut daemon = Self { what, log, process };
        let start = Instant::now();
        loop {
            if let Some(found) = is_ready(&daemon.describe()) {
                return Ok((daemon, found));
            }
            let status = daemon.process.try_wait().with_context(|| format!("watching {what}"))?;
            if status.is_some() || start.elapsed() > DEADLINE {
                let why =
                    status.map_or("does not serve".to_owned(), |status| format!("has ended with {status}"));
                return Err(Failure::new(format!("{what} {why}: {}", daemon.describe())));
            }
            sleep(POLL).await;
        }
    }

    /// Stops it, and waits until the process has ended and its address is free.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.process.kill().await.with_context(|| format!("ending {}", self.what))
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// Its log, for the diagnosis of a failure.
    pub(super) fn describe(&self) -> String {
        format!("the log of {}:\n{}", self.what, fs::read_to_string(&self.log).unwrap_or_default())
    }
}
