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
use crate::failure::{Failure, WithContext};

/// The name in the certificate: that of the Service in the manifests.
const SERVER_NAME: &str = "podlocal-dns-webhook.podlocal-dns.svc";

/// `timeoutSeconds` in the manifests.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one webhook. It keeps connections open, as the API server does.
#[derive(Debug)]
pub struct ReviewClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    reviews: AtomicU64,
}

impl ReviewClient {
    /// A client for the webhook at `address` that trusts the CA in the PEM file `ca`.
    pub fn new(address: SocketAddr, ca: &Path) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let reading = || format!("reading the certificate authority from {}", ca.display());
        for certificate in CertificateDer::pem_file_iter(ca).with_context(reading)? {
            roots.add(certificate.with_context(reading)?).with_context(reading)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .with_context(|| "setting TLS up".to_owned())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server_name = ServerName::try_from(SERVER_NAME)
            .with_context(|| "reading the server name of the webhook".to_owned())?;
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

    /// Sends a pod for review, and applies the patch.
    pub async fn admit(&self, pod: &Value, namespace: &str) -> Result<Admitted, Failure> {
        let number = self.reviews.fetch_add(1, Ordering::Relaxed);
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let answer = self.post(review(pod, namespace, &uid).to_string()).await?;
        let answer =
            serde_json::from_slice(&answer).with_context(|| "parsing the webhook's response".to_owned())?;
        apply(pod, &uid, &answer)
    }

    /// Sends any body to the webhook, and returns the body of the response.
    pub async fn post(&self, body: String) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .body(Full::new(Bytes::from(body)))
            .with_context(|| format!("a request to {}", self.url))?;
        let exchange = async {
            let response =
                self.http.request(request).await.with_context(|| format!("asking {}", self.url))?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.with_context(|| format!("reading the answer of {}", self.url))?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(Failure::new(format!(
                    "the webhook answered {status}: {}",
                    String::from_utf8_lossy(&body)
                )))
            }
        };
        timeout(TIMEOUT, exchange).await.with_context(|| format!("waiting for {}", self.url))?
    }
}
