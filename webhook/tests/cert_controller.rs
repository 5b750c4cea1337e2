//! The built programs with the RBAC permissions of the manifests: the certificate is served and trusted, and
//! each program uses exactly its permissions.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::api_server::ApiServer;
use common::kustomize::{named, render};
use common::{Webhook, eventually, pod, review_of};
use nix::sys::signal::Signal;
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

const SECRET: &str = "/api/v1/namespaces/podlocal-dns/secrets/podlocal-dns-webhook-certificate";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podlocal-dns-webhook";
const CONTROLLER: &str = "podlocal-dns-cert-controller";
const WEBHOOK: &str = "podlocal-dns-webhook";

/// As on a new cluster: two controllers, as during a rolling update, fill the empty Secret and the
/// configuration of the manifests; the webhook serves the mounted files of the Secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_certificate_is_served_and_trusted_with_manifest_rbac() {
    let cluster = TestCluster::start(CONTROLLER).await;
    let mut controllers = [cluster.controller(), cluster.controller()];
    for controller in &controllers {
        controller.wait_until_ready();
        assert_eq!(controller.admin_page("/livez").status, 200);
        assert_eq!(controller.admin_page("/metrics").status, 404);
    }
    assert_eq!(cluster.api.written(SECRET), 1);
    assert_eq!(cluster.api.differences(), [""; 0]);

    let kept = cluster.api.object(SECRET);
    let mount =
        named(&render("base"), "Deployment", WEBHOOK)["spec"]["template"]["spec"]["volumes"][0].clone();
    assert_eq!(mount["secret"]["secretName"], kept["metadata"]["name"]);
    let mounted = tempfile::tempdir().expect("a folder");
    for item in mount["secret"]["items"].as_array().expect("items") {
        let data = kept["data"][item["key"].as_str().expect("a text")].as_str().expect("a part");
        let file = mounted.path().join(item["path"].as_str().expect("a text"));
        std::fs::write(file, BASE64.decode(data).expect("base64")).expect("writes");
    }
    let files = std::fs::read_dir(mounted.path()).expect("reads").count();
    assert_eq!(files, 2, "the CA's key is not mounted");
    let [certificate, key] =
        ["tls.crt", "tls.key"].map(|name| mounted.path().join(name).display().to_string());
    let webhook = Webhook::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    for entry in cluster.api.object(CONFIGURATION)["webhooks"].as_array().expect("entries") {
        let ca = BASE64.decode(entry["clientConfig"]["caBundle"].as_str().expect("a text")).expect("base64");
        let ca = CertificateDer::from_pem_slice(&ca).expect("a CA");
        let body = review_of(&pod()).to_string();
        let head = common::head("POST", "/mutate", "application/json", body.len());
        let answer = common::request(common::connect(webhook.address, &ca), &head, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    for controller in &mut controllers {
        controller.signal(Signal::SIGTERM);
        assert!(controller.ended().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_uses_exactly_its_rbac_permissions() {
    let cluster = TestCluster::start(WEBHOOK).await;
    let webhook = Webhook::start(&["--kubeconfig", &cluster.kubeconfig()]);
    let mut left_alone = pod();
    left_alone["spec"]["dnsPolicy"] = json!("Default");
    let owner =
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "u-1", "controller": true});
    left_alone["metadata"]["ownerReferences"] = json!([owner]);
    for count in 1..=2 {
        webhook.review(&review_of(&left_alone));
        let published = format!("podlocal_webhook_events_total{{result=\"published\"}} {count}\n");
        eventually("the Event is published", || webhook.admin_page("/metrics").body.contains(&published));
    }
    assert_eq!(cluster.api.differences(), [""; 0]);
}

/// An API server with the objects of the manifests, and a client with the permissions of one of their
/// ServiceAccounts.
struct TestCluster {
    api: ApiServer,
    folder: tempfile::TempDir,
}

impl TestCluster {
    async fn start(account: &str) -> Self {
        let api = ApiServer::start().await;
        let objects = render("base");
        api.put(SECRET, named(&objects, "Secret", "podlocal-dns-webhook-certificate"));
        api.put(CONFIGURATION, named(&objects, "MutatingWebhookConfiguration", WEBHOOK));
        api.put("/version", json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}));
        api.put_labelled_namespace("web", &json!({INJECT_LABEL: INJECT_ENABLED}));
        api.authorize(&objects, account);
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = api.kubeconfig_of("podlocal-dns");
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("writes");
        Self { api, folder }
    }

    fn kubeconfig(&self) -> String {
        self.folder.path().join("kubeconfig").display().to_string()
    }

    fn controller(&self) -> Webhook {
        Webhook::cert_controller(&["--kubeconfig", &self.kubeconfig()])
    }
}
