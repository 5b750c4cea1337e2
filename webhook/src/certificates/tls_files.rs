//! The certificate from `--tls-cert` and `--tls-key`, reloaded when the files change.
//!
//! The files are read and compared every few seconds: a Secret volume is updated by replacing a symbolic
//! link, which file notifications miss, and reading two small files is cheap.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::identity;
use super::tls::{self, ServingCertificate};
use crate::metrics::Metrics;

/// How often the files are read. The kubelet takes about a minute to update a changed Secret in a pod.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The two files, and their last content.
#[derive(Debug)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    texts: (String, String),
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {file}: {source}")]
    File { file: String, source: std::io::Error },
    #[error("--tls-cert and --tls-key: {0}")]
    Tls(#[from] tls::Error),
}

impl TlsFiles {
    /// Loads the files and serves the certificate.
    pub fn load(
        certificate: &Path,
        key: &Path,
        served: &ServingCertificate,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let mut files =
            Self { certificate: certificate.to_owned(), key: key.to_owned(), texts: Default::default() };
        files.reload_if_changed(served, metrics)?;
        Ok(files)
    }

    /// Reloads the files whenever they change, forever. An unusable pair, such as a new certificate with an
    /// old key, is reported once, and the previous certificate is kept.
    pub async fn reload_on_change(
        mut self,
        served: Arc<ServingCertificate>,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) {
        tls::reload_forever(interval, &metrics, "certificate", || {
            self.reload_if_changed(&served, &metrics).map(|is_new| {
                if is_new {
                    tracing::info!(file = %self.certificate.display(), "serving the new certificate");
                }
            })
        })
        .await;
    }

    /// Loads the files if they have changed; returns whether they have.
    fn reload_if_changed(&mut self, served: &ServingCertificate, metrics: &Metrics) -> Result<bool, Error> {
        let texts = (read(&self.certificate)?, read(&self.key)?);
        if texts == self.texts {
            return Ok(false);
        }
        let pair = tls::certified_key(&texts.0, &texts.1)?;
        metrics.certificate_expiry.set(identity::expiry(&pair.cert[0]).unwrap_or_default() as f64);
        served.replace(pair);
        self.texts = texts;
        Ok(true)
    }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|source| Error::File { file: file.display().to_string(), source })
}
