//! TLS: the certificate that is served, replaced without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate or key that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not what it should be.
    #[error("the {what} is not valid PEM: {source}")]
    Pem {
        /// "certificate" or "key".
        what: &'static str,
        /// What the parser says.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the text.
    #[error("the PEM text contains no certificate")]
    Empty,
    /// The key cannot be used, or is not the certificate's.
    #[error("the key does not fit the certificate: {0}")]
    Key(#[from] rustls::Error),
}

/// The certificate that new connections get; none at first, and then handshakes fail.
#[derive(Debug, Default)]
pub struct Served(RwLock<Option<Arc<CertifiedKey>>>);

impl Served {
    /// Serves `key` from the next handshake on.
    pub fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A chain and its key, proven to belong together.
pub fn certified_key(chain_pem: &str, key_pem: &str) -> Result<CertifiedKey, Error> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    let key = key.map_err(|source| Error::Pem { what: "key", source })?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

/// The certificates of a PEM text; at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|source| Error::Pem { what: "certificate", source })?;
    if chain.is_empty() { Err(Error::Empty) } else { Ok(chain) }
}

/// The server's side of TLS 1.2 and 1.3, for clients that `clients` verifies, or for all.
///
/// Only HTTP/1.1 is announced: the API server speaks nothing else to webhooks, so that its requests spread
/// over the replicas (`k8s.io/apiserver/pkg/util/webhook/client.go`). Sessions are not resumed: the API
/// server does not, and one of a client that is not trusted any more must not be.
pub fn server_config(
    served: Arc<Served>,
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
