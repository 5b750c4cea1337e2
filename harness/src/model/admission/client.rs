//! Sends reviews as the API server does: HTTPS to the Service's name, verified with the `caBundle`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, header};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::time::timeout;

use super::{apply, review};
use crate::failure::{Failure, WithContext};

/// The name in the certificate: that of the Service in the manifests.
const SERVER_NAME: &str = "podlocal-dns-webhook.podlocal-dns.svc";

/// `timeoutSeconds` in the manifests.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one webhook. It keeps connections open, as the API server does.
pub struct ReviewClient {
    https: Client,
    reviews: AtomicU64,
}

impl ReviewClient {
    /// A client for the webhook at `address` that trusts the CA in the PEM file `ca`.
    pub fn new(address: SocketAddr, ca: &Path) -> Result<Self, Failure> {
        // Fails only when the program has already installed a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("https://{address}").parse().with_context("the address of the webhook")?;
        let mut config = Config::new(url);
        let reading = || format!("reading the certificate authority from {}", ca.display());
        let authorities = CertificateDer::pem_file_iter(ca).with_context(reading)?;
        let authorities = authorities.map(|authority| authority.map(|authority| authority.to_vec()));
        config.root_cert = Some(authorities.collect::<Result<_, _>>().with_context(reading)?);
        config.tls_server_name = Some(SERVER_NAME.to_owned());
        let https = Client::try_from(config).with_context("preparing a client for the webhook")?;
        Ok(Self { https, reviews: AtomicU64::new(0) })
    }

    /// Sends a pod for review, and applies the patch. Returns the pod and the admission warnings.
    pub async fn admit(&self, pod: &Value, namespace: &str) -> Result<(Value, Vec<String>), Failure> {
        let number = self.reviews.fetch_add(1, Ordering::Relaxed);
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let answer = self.post(review(pod, namespace, &uid).to_string()).await?;
        let answer = serde_json::from_slice(&answer).with_context("parsing the webhook's response")?;
        apply(pod, &uid, &answer)
    }

    /// Sends any body to the webhook, and returns the body of the response.
    pub async fn post(&self, body: String) -> Result<Vec<u8>, Failure> {
        let request = Request::post(format!("/mutate?timeout={}s", TIMEOUT.as_secs()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .body(body.into_bytes())
            .with_context("preparing a review")?;
        let answer = timeout(TIMEOUT, self.https.request_text(request)).await;
        let answer = answer.with_context("waiting for the webhook")?;
        answer.map(String::into_bytes).with_context("calling the webhook")
    }
}
