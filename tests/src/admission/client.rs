//! Sends reviews as the API server does: HTTPS to the Service's name, verified with the `caBundle`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time::timeout;

use super::{Admitted, apply, review};
use crate::failure::{Failure, Tried};

/// The name that the certificate has to be for: the Service of the manifests.
const SERVER_NAME: &str = "podlocal-dns-webhook.podlocal-dns.svc";

/// `timeoutSeconds` of the manifests.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one webhook; keeps connections open, as the API server does.
#[derive(Debug)]
pub struct ReviewClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    reviews: AtomicU64,
}

impl ReviewClient {
    /// Connects to `address`, and believes who shows a certificate of the authority in the PEM file `ca`.
    pub fn new(address: SocketAddr, ca: &Path) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let reading = || format!("reading the certificate authority from {}", ca.display());
        for certificate in CertificateDer::pem_file_iter(ca).tried(reading)? {
            roots.add(certificate.tried(reading)?).tried(reading)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .tried(|| "setting TLS up".to_owned())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server_name = ServerName::try_from(SERVER_NAME).tried(|| "naming the webhook".to_owned())?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(server_name))
            .enable_http1()
            .build();
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            url: format!("https://{address}/mutate?timeout={}s", TIMEOUT.as_secs()),
            reviews: AtomicU64::new(0),
        })
    }

    /// Has a pod reviewed, and applies the patch.
    pub async fn admit(&self, pod: &Value, namespace: &str) -> Result<Admitted, Failure> {
        let number = self.reviews.fetch_add(1, Ordering::Relaxed);
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let answer = self.post(review(pod, namespace, &uid).to_string()).await?;
        let answer =
            serde_json::from_slice(&answer).tried(|| "understanding the webhook's answer".to_owned())?;
        apply(pod, &uid, &answer)
    }

    /// Sends a body to the webhook, whatever it is, and returns the body of the answer.
    pub async fn post(&self, body: String) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .body(Full::new(Bytes::from(body)))
            .tried(|| format!("a request to {}", self.url))?;
        let exchange = async {
            let response = self.http.request(request).await.tried(|| format!("asking {}", self.url))?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.tried(|| format!("reading the answer of {}", self.url))?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(Failure::new(format!(
                    "the webhook answered {status}: {}",
                    String::from_utf8_lossy(&body)
                )))
            }
        };
        timeout(TIMEOUT, exchange).await.tried(|| format!("waiting for {}", self.url))?
    }
}
