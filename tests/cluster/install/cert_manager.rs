//! The overlay `cert-manager`. The test does the work of cert-manager: it signs the certificates that the
//! overlay's Certificates request, stores them in their Secrets, and writes the CA into the webhook
//! configuration that names one of them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use podlocal_harness::cluster::product::{
    self, WEBHOOK, wait_for_webhook_rollout, wait_until_webhook_injects,
};
use podlocal_harness::cluster::{Cluster, kubectl};
use podlocal_harness::failure::{Failure, WithContext as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

pub(super) const OVERLAY: &str = "manifests/overlays/cert-manager";

/// Installs the overlay over the existing installation, and waits until the webhook serves the certificate
/// that this test has signed.
pub(super) async fn install(cluster: &Cluster) -> Result<(), Failure> {
    let rendered = kubectl(&["kustomize", OVERLAY]).await?;
    assert!(!rendered.contains("cert-controller"), "cert-manager replaces it: {rendered}");
    product::apply(OVERLAY).await?;
    let authority = issue(cluster).await?;
    wait_for_webhook_rollout(cluster).await?;
    publish(cluster, &authority).await?;
    // The API server trusts no other CA, so an injected pod proves that the webhook serves a certificate of
    // this one.
    wait_until_webhook_injects(cluster).await
}

/// Fills the Secrets of the Certificates in the product's namespace. Returns the CA, in PEM.
async fn issue(cluster: &Cluster) -> Result<String, Failure> {
    let signing = "signing the requested certificates";
    let certificates = cluster.api("cert-manager.io/v1", "Certificate", Some(product::NAMESPACE));
    let certificates = cluster.list(&certificates, "").await?;
    let is_authority = |certificate: &&Value| certificate["spec"]["isCA"] == true;
    let wanted = |value: Option<&Value>| {
        value.map(|value| value["spec"].clone()).with_context("the overlay requests no CA or no certificate")
    };
    let of_authority = wanted(certificates.iter().find(is_authority))?;
    let of_webhook = wanted(certificates.iter().find(|certificate| !is_authority(certificate)))?;

    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().with_context(signing)?)
        .with_context(signing)?;
    let names = of_webhook["dnsNames"].as_array().into_iter().flatten();
    let names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let key = KeyPair::generate().with_context(signing)?;
    let parameters = CertificateParams::new(names).with_context(signing)?;
    let certificate = parameters.signed_by(&key, &authority).with_context(signing)?;

    for (spec, certificate, key) in [
        (&of_authority, authority.pem(), authority.key().serialize_pem()),
        (&of_webhook, certificate.pem(), key.serialize_pem()),
    ] {
        let name = spec["secretName"].as_str().unwrap_or_default();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name, "namespace": product::NAMESPACE },
            "type": "kubernetes.io/tls",
            "stringData": { "ca.crt": authority.pem(), "tls.crt": certificate, "tls.key": key },
        });
        cluster.create(&secret, "").await?;
    }
    Ok(authority.pem())
}

/// Writes the CA into the webhook configuration, which names the Certificate.
async fn publish(cluster: &Cluster, authority: &str) -> Result<(), Failure> {
    let configurations = product::configurations(cluster);
    let mut configuration = cluster.get(&configurations, WEBHOOK).await?;
    let annotation = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(annotation, "podlocal-dns/podlocal-dns-webhook");
    for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
        webhook["clientConfig"]["caBundle"] = json!(BASE64_STANDARD.encode(authority));
    }
    cluster.patch(&configurations, WEBHOOK, &json!({ "webhooks": configuration["webhooks"] })).await
}
