//! Requests to the webhook from a client that is not the API server.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::{Failure, WithContext as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_rustls::TlsConnector;

use super::{ATTACKER, WEBHOOK_PORT};

/// The name in the webhook's certificate.
const NAME: &str = "podlocal-dns-webhook.podlocal-dns.svc";

/// The sizes of bodies in bytes: the largest that the API server accepts, and smaller ones.
const SIZES: [usize; 4] = [(4 << 20) - 1, (3 << 20) - 1, 2 << 20, 1400 << 10];

/// Sends bodies that consist of the smallest JSON objects.
pub(super) async fn large_bodies(targets: &[Ipv4Addr]) -> Result<(), Failure> {
    let requests = SIZES.map(|size| {
        let (head, tail) = (
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","object":["#,
            "{}]}}",
        );
        request(&[head, &"{},".repeat((size - head.len() - tail.len()) / 3), tail].concat())
    });
    send_in_turn(targets, requests.map(Arc::from).to_vec(), 10).await
}

/// Sends a Pod of 1 MB that has 349,000 variables without a name.
pub(super) async fn many_elements(targets: &[Ipv4Addr]) -> Result<(), Failure> {
    let mut review = review("elements", &json!({}));
    review["request"]["object"]["spec"]["containers"][0]["env"] = json!(vec![json!({}); 349_000]);
    send_in_turn(targets, vec![request(&review.to_string()).into(); 4], 10).await
}

/// Sends requests whose last byte is missing.
pub(super) async fn unfinished(targets: &[Ipv4Addr]) -> Result<(), Failure> {
    let mut request = request(&" ".repeat(2 << 20));
    request.pop();
    send_in_turn(targets, vec![request.into(); 100], 50).await
}

/// Sends 50 reviews per second of pods in `kube-system`, each with another owner and with an invalid
/// annotation, so that the webhook would write an Event for each.
pub(super) async fn forged(targets: &[Ipv4Addr]) -> Result<(), Failure> {
    let connector = connector().await?;
    let mut ticks = interval(Duration::from_millis(20));
    for number in 0_usize.. {
        ticks.tick().await;
        let mistake =
            json!({ "podlocal-dns.io/ndots": ATTACKER, (format!("podlocal-dns.io/{ATTACKER}")): "x" });
        let request = request(&review(&format!("{ATTACKER}-{number}"), &mistake).to_string());
        let (connector, target) = (connector.clone(), targets[number % targets.len()]);
        tokio::spawn(async move { exchange(&connector, target, &request).await });
    }
    Ok(())
}

fn review(name: &str, annotations: &serde_json::Value) -> serde_json::Value {
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": true });
    let metadata = json!({ "name": name, "namespace": "kube-system", "annotations": annotations, "ownerReferences": [owner] });
    let spec = json!({ "containers": [{ "name": "a", "image": "b" }] });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": name, "operation": "CREATE", "namespace": "kube-system", "name": name,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "object": { "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec },
        },
    })
}

/// Sends each request on a separate connection, again and again after a pause in milliseconds.
async fn send_in_turn(targets: &[Ipv4Addr], requests: Vec<Arc<[u8]>>, pause: u64) -> Result<(), Failure> {
    let connector = connector().await?;
    let mut senders = JoinSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let (connector, target) = (connector.clone(), targets[number % targets.len()]);
        senders.spawn(async move {
            loop {
                let _ = exchange(&connector, target, &request).await;
                sleep(Duration::from_millis(pause)).await;
            }
        });
    }
    senders.join_all().await;
    Ok(())
}

/// Sends a request, and waits until the server closes the connection: after the response (`Connection: close`),
/// or because the request is not complete.
async fn exchange(connector: &TlsConnector, target: Ipv4Addr, request: &[u8]) -> io::Result<()> {
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let stream = TcpStream::connect((target, WEBHOOK_PORT)).await?;
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(request).await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

fn request(body: &str) -> Vec<u8> {
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Trusts the CA in the webhook configuration, which every client can read.
async fn connector() -> Result<TlsConnector, Failure> {
    let cluster = Cluster::connect().await?;
    let configuration = cluster.get(&product::configurations(&cluster), product::WEBHOOK).await?;
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let reading = "reading the CA of the webhook";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&BASE64.decode(bundle).with_context(reading)?) {
        roots.add(certificate.with_context(reading)?).with_context(reading)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
