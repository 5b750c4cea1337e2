//! Verifies clients by the CA in `--client-ca-file`; the file is reloaded when it changes.
//!
//! The API server presents a client certificate if its admission configuration contains one
//! (docs/install.md). Without the flag, every client that reaches the port is answered.

use std::path::PathBuf;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::reload::{self, Files};
use super::tls::{self, ServingCertificate};
use crate::metrics::Metrics;

#[derive(Debug, Clone)]
pub(crate) struct ClientCa {
    /// The file with the CA certificates, PEM.
    pub(crate) file: PathBuf,
    /// The allowed common or DNS names of a client certificate; empty: all names.
    pub(crate) names: Vec<String>,
}

impl ClientCa {
    /// Uses the CAs of the file for the connections of `config`, now and whenever they change. Open
    /// connections are kept.
    pub(crate) fn apply(
        self,
        served: Arc<ServingCertificate>,
        config: RustlsConfig,
        metrics: Arc<Metrics>,
    ) -> Result<(), reload::Error> {
        let names = self.file.display().to_string();
        let files = Files { paths: [self.file], names, what: "client CAs" };
        files.apply_now_and_later(metrics, move |[pem]| {
            let clients = verifier(pem, &self.names)?;
            config.reload_from_config(Arc::new(tls::server_config(served.clone(), Some(clients))?));
            Ok(())
        })
    }
}

/// A verifier for client certificates of the CAs in `pem` and, if there are any, with one of `names`.
fn verifier(
    pem: &str,
    names: &[String],
) -> Result<Arc<dyn ClientCertVerifier>, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for authority in tls::certificates(pem)? {
        let added = roots.add(authority);
        added.map_err(|error| format!("a certificate in the file cannot be used as a CA: {error}"))?;
    }
    let provider = Arc::new(ring::default_provider());
    let by_authority = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
    Ok(Arc::new(ByName { by_authority, names: names.to_vec() }))
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
