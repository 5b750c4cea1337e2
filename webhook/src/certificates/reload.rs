//! Files that are used again whenever they change.
//!
//! The files are read and compared every few seconds: a Secret volume is updated by replacing a symbolic
//! link, which file notifications miss, and reading small files is cheap.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Metrics, Task};

/// How often the files are read. The kubelet takes about a minute to update a changed Secret in a pod.
const INTERVAL: Duration = Duration::from_secs(5);

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {file}: {source}")]
    File { file: String, source: std::io::Error },
    #[error("{names}: {source}")]
    Content { names: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Files that are used together.
pub(super) struct Files<const N: usize> {
    /// Their paths.
    pub(super) paths: [PathBuf; N],
    /// Their names in errors.
    pub(super) names: String,
    /// What they contain.
    pub(super) what: &'static str,
}

impl<const N: usize> Files<N> {
    /// Uses the texts of the files, now and whenever they change, forever. If that fails later, as with a new
    /// certificate and an old key, `apply` has changed nothing: every error is counted, and a repeated one is
    /// logged once.
    ///
    /// # Errors
    /// If the files cannot be used now.
    pub(super) fn apply_now_and_later(
        self,
        metrics: Arc<Metrics>,
        mut apply: impl FnMut(&[String; N]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send
        + 'static,
    ) -> Result<(), Error> {
        let mut texts = [const { String::new() }; N];
        self.apply_changes(&mut texts, &mut apply)?;
        tokio::spawn(async move {
            let mut reported = None;
            loop {
                tokio::time::sleep(INTERVAL).await;
                let result = self.apply_changes(&mut texts, &mut apply);
                let error = match result {
                    Ok(false) => None,
                    Ok(true) => {
                        tracing::info!(files = ?self.paths, "using the new {}", self.what);
                        None
                    }
                    Err(error) => {
                        metrics.task_failures.inc(Task::Certificate);
                        Some(error.to_string())
                    }
                };
                if error.is_some() && error != reported {
                    tracing::warn!(error, "keeping the previous {}", self.what);
                }
                reported = error;
            }
        });
        Ok(())
    }

    /// Uses the texts of the files if they are not `last`; returns whether it has.
    fn apply_changes(
        &self,
        last: &mut [String; N],
        apply: &mut impl FnMut(&[String; N]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<bool, Error> {
        let mut texts = [const { String::new() }; N];
        for (text, path) in texts.iter_mut().zip(&self.paths) {
            *text = std::fs::read_to_string(path)
                .map_err(|source| Error::File { file: path.display().to_string(), source })?;
        }
        if texts == *last {
            return Ok(false);
        }
        apply(&texts).map_err(|source| Error::Content { names: self.names.clone(), source })?;
        *last = texts;
        Ok(true)
    }
}
