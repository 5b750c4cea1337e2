//! The certificate from `--tls-cert` and `--tls-key`, read again when the files change.
//!
//! The files are compared every few seconds: a Secret's volume is changed by swapping a symbolic link that
//! notifications of the file do not see, and two small files are quickly read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::certificates;
use crate::metrics::{Metrics, Task};
use crate::tls::{self, Served};

/// How often the files are looked at. The kubelet takes about a minute to bring a changed Secret into a pod.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The two files, and what was found in them last.
#[derive(Debug)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    texts: (String, String),
}

/// Why the files cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One cannot be read.
    #[error("cannot read {file}: {reason}")]
    File {
        /// Its name.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// They are no certificate and its key.
    #[error("--tls-cert and --tls-key: {0}")]
    Tls(String),
}

impl TlsFiles {
    /// Serves what is in the files now.
    pub fn serve(certificate: &Path, key: &Path, served: &Served, metrics: &Metrics) -> Result<Self, Error> {
        let mut files =
            Self { certificate: certificate.to_owned(), key: key.to_owned(), texts: Default::default() };
        files.look(served, metrics)?;
        Ok(files)
    }

    /// Serves what will be in them, for ever. A pair that cannot be served, such as a new certificate beside
    /// an old key, is complained of once, and the one before goes on.
    pub async fn follow(mut self, served: Arc<Served>, metrics: Arc<Metrics>, interval: Duration) {
        let mut complaint = None;
        loop {
            tokio::time::sleep(interval).await;
            match self.look(&served, &metrics) {
                Ok(is_new) => {
                    complaint = None;
                    if is_new {
                        tracing::info!(file = %self.certificate.display(), "serving the new certificate");
                    }
                }
                Err(error) => {
                    metrics.failed(Task::Certificate);
                    if complaint.as_ref() != Some(&error) {
                        tracing::warn!(%error, "keeping the previous certificate");
                    }
                    complaint = Some(error);
                }
            }
        }
    }

    /// Serves what is in the files, if that is new; tells whether it was.
    fn look(&mut self, served: &Served, metrics: &Metrics) -> Result<bool, Error> {
        let texts = (read(&self.certificate)?, read(&self.key)?);
        if texts == self.texts {
            return Ok(false);
        }
        let pair = tls::certified_key(&texts.0, &texts.1).map_err(|error| Error::Tls(error.to_string()))?;
        metrics.certificate_expires(certificates::expiry(&pair.cert[0]).unwrap_or_default());
        served.replace(pair);
        self.texts = texts;
        Ok(true)
    }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file)
        .map_err(|error| Error::File { file: file.display().to_string(), reason: error.to_string() })
}
