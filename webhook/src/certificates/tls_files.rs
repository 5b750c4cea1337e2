//! The certificate from `--tls-cert` and `--tls-key`.

use std::path::PathBuf;
use std::sync::Arc;

use super::identity;
use super::reload::{Error, Files};
use super::tls::{self, ServingCertificate};
use crate::metrics::Metrics;

/// Serves the certificate of the files, now and whenever they change.
pub(crate) fn serve(
    certificate: PathBuf,
    key: PathBuf,
    served: Arc<ServingCertificate>,
    metrics: Arc<Metrics>,
) -> Result<(), Error> {
    let names = "--tls-cert and --tls-key".to_owned();
    let files = Files { paths: [certificate, key], names, what: "certificate" };
    files.apply_now_and_later(metrics.clone(), move |[certificate, key]| {
        let pair = tls::certified_key(certificate, key)?;
        metrics.certificate_expiry.set(identity::expiry(&pair.cert[0]).unwrap_or_default() as f64);
        served.replace(pair);
        Ok(())
    })
}
