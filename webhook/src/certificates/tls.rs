//! TLS with a serving certificate that is replaced without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("the {what} is not valid PEM: {source}")]
    Pem { what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("the PEM text contains no certificate")]
    Empty,
    #[error("the key does not fit the certificate: {0}")]
    Key(#[from] rustls::Error),
}

/// The certificate for new connections. Handshakes fail until there is one.
#[derive(Debug, Default)]
pub(crate) struct ServingCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl ServingCertificate {
    /// Uses `key` from the next handshake on.
    pub(crate) fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Parses a chain and its key, and checks that they belong together.
pub(crate) fn certified_key(chain_pem: &str, key_pem: &str) -> Result<CertifiedKey, Error> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    let key = key.map_err(|source| Error::Pem { what: "key", source })?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

/// Parses the certificates of a PEM text; at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|source| Error::Pem { what: "certificate", source })?;
    if chain.is_empty() { Err(Error::Empty) } else { Ok(chain) }
}

/// The server configuration for TLS 1.2 and 1.3; `clients` verifies client certificates, `None` accepts every
/// client.
///
/// ALPN offers only HTTP/1.1: the API server uses nothing else for webhooks, so that its requests spread over
/// the replicas (`k8s.io/apiserver/pkg/util/webhook/client.go`). Sessions are not resumed: the API server
/// does not use resumption, and a client that is no longer trusted must not use it.
pub(crate) fn server_config(
    served: Arc<ServingCertificate>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let clients = clients.unwrap_or_else(|| Arc::new(NoClientAuth));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(served);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
