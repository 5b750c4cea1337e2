//! Verifies clients by the CA in `--client-ca-file`; the file is reloaded when it changes.
//!
//! The API server presents a client certificate if its admission configuration contains one
//! (docs/install.md). Without the flag, every client that reaches the port is answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::tls::{self, ServingCertificate};
use crate::metrics::Metrics;

#[derive(Debug, Clone)]
pub(crate) struct ClientCa {
    /// The file with the CA certificates, PEM.
    pub(crate) file: PathBuf,
    /// The allowed common or DNS names of a client certificate; empty: all names.
    pub(crate) names: Vec<String>,
}

/// Why the client CA cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read {file}: {source}")]
    File { file: String, source: std::io::Error },
    #[error("{file}: {source}")]
    Verifier { file: String, source: VerifierError },
}

/// Why no verifier could be built from a PEM text.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum VerifierError {
    #[error(transparent)]
    Pem(#[from] tls::Error),
    #[error("a certificate in the file cannot be used as a CA: {0}")]
    Authority(rustls::Error),
    #[error(transparent)]
    Build(#[from] rustls::server::VerifierBuilderError),
}

/// A verifier for client certificates of the CAs in `pem` and, if there are any, with one of `names`.
fn verifier(pem: &str, names: &[String]) -> Result<Arc<dyn ClientCertVerifier>, VerifierError> {
    let mut roots = RootCertStore::empty();
    for authority in tls::certificates(pem)? {
        roots.add(authority).map_err(VerifierError::Authority)?;
    }
    let provider = Arc::new(ring::default_provider());
    let by_authority = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
    Ok(Arc::new(ByName { by_authority, names: names.to_vec() }))
}

impl ClientCa {
    /// Reads the file; returns the verifier and the text of the file.
    pub(crate) fn read(&self) -> Result<(Arc<dyn ClientCertVerifier>, String), Error> {
        let file = || self.file.display().to_string();
        let pem =
            std::fs::read_to_string(&self.file).map_err(|source| Error::File { file: file(), source })?;
        let verifier =
            verifier(&pem, &self.names).map_err(|source| Error::Verifier { file: file(), source })?;
        Ok((verifier, pem))
    }

    /// Reloads the file whenever it changes, forever. An unusable file is reported once, and the previous CAs
    /// are kept. Open connections are kept, too.
    pub(crate) async fn reload_on_change(
        self,
        mut last: String,
        served: Arc<ServingCertificate>,
        config: RustlsConfig,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) {
        let reload = || -> Result<(), Box<dyn std::error::Error>> {
            let (verifier, pem) = self.read()?;
            if pem != last {
                config.reload_from_config(Arc::new(tls::server_config(served.clone(), Some(verifier))?));
                tracing::info!(file = %self.file.display(), "trusting the new client CAs");
                last = pem;
            }
            Ok(())
        };
        tls::reload_forever(interval, &metrics, "client CAs", reload).await;
    }
}

/// Verifies the certificate chain with rustls, then the name.
#[derive(Debug)]
struct ByName {
    by_authority: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for ByName {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.by_authority.verify_client_cert(end_entity, intermediates, now)?;
        if self.names.is_empty() || names_of(end_entity).iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// The common names and DNS names of a certificate.
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    let dns = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    common.chain(dns).map(str::to_owned).collect()
}
