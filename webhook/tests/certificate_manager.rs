//! The certificate in the Secret, with a fake API server with optimistic concurrency.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use common::api_server::{ApiServer, CONFIGURATION, SECRET};
use common::{Webhook, eventually};
use nix::sys::signal::Signal;
use podlocal_telemetry::Readiness;
use podlocal_webhook::certificates::identity::{Identity, Step};
use podlocal_webhook::certificates::manager::{CertificateManager, Error};
use podlocal_webhook::cluster::discovery;
use podlocal_webhook::metrics::Metrics;
use podlocal_webhook::review::cluster_state::{Cluster, ClusterFlags, Version};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Four controllers start at the same time, as during rolling updates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_that_start_at_once_replace_an_unusable_secret_once() {
    let two_years_ago = SystemTime::now() - Duration::from_hours(2 * 365 * 24);
    let expired = Identity::make(&names(), two_years_ago).expect("makes").parts();
    let other_name = Identity::make(&["other".to_owned()], SystemTime::now()).expect("makes").parts();
    let garbage = BTreeMap::from([("tls.crt".to_owned(), b"garbage".to_vec())]);
    for parts in [expired, other_name, garbage, BTreeMap::new()] {
        let api = ApiServer::start().await;
        api.put_secret(&parts);
        let mut controllers = JoinSet::new();
        for _ in 0..4 {
            let manager = manager(&api);
            controllers.spawn(async move { ensured(&manager, SystemTime::now(), None).await });
        }
        let identities = controllers.join_all().await;
        let later = ensured(&manager(&api), SystemTime::now(), None).await;
        assert!(identities.iter().all(|identity| *identity == later), "a valid one is reused");
        assert_eq!(api.written(SECRET), 1, "written once");
        let kept = api.object(SECRET);
        assert_eq!((&kept["type"], &kept["metadata"]["labels"]["a"]), (&json!("Opaque"), &json!("b")));
    }
}

/// A CA in its last year gets a successor, which signs once it is trusted.
#[tokio::test]
async fn renewal_waits_until_the_new_ca_is_published() {
    const DAY: Duration = Duration::from_hours(24);
    let (api, now) = (ApiServer::start().await, SystemTime::now());
    api.put(CONFIGURATION, configuration());
    let old = Identity::make(&names(), now - 3300 * DAY).expect("makes");
    let old = old.renewed(Step::NewCertificate, &names(), now).expect("renews");
    api.put_secret(&old.parts());
    let manager = manager(&api);
    let both = ensured(&manager, now, Some(&old.ca)).await;
    assert_eq!((both.ca.matches("END CERTIFICATE").count(), both.ca.ends_with(&old.ca)), (2, true));
    let certificate = |identity: &Identity| identity.parts()["tls.crt"].clone();
    assert_eq!(certificate(&both), certificate(&old), "the served certificate stays");
    assert!(manager.publish_ca(&both.ca).await.expect("publishes"));
    assert_eq!(ensured(&manager, now + DAY, Some(&old.ca)).await, both, "the new CA is not trusted");
    let renewed = ensured(&manager, now + DAY, Some(&both.ca)).await;
    assert_eq!((&renewed.ca, certificate(&renewed) == certificate(&old)), (&both.ca, false));
}

#[tokio::test]
async fn failed_renewal_keeps_the_current_certificate() {
    let (api, now) = (ApiServer::start().await, SystemTime::now());
    let identity = Identity::make(&names(), now).expect("makes");
    api.put_secret(&identity.parts());
    api.objects().is_read_only = true;
    assert_eq!(ensured(&manager(&api), now + Duration::from_hours(61 * 24), None).await, identity);
    assert_eq!(api.written(SECRET), 0);
}

#[tokio::test]
async fn ca_is_written_to_service_webhooks_only_if_it_differs() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    let manager = manager(&api);
    assert!(manager.publish_ca("a CA").await.expect("publishes"));
    assert!(!manager.publish_ca("a CA").await.expect("publishes"));
    assert_eq!(api.written(CONFIGURATION), 1);
    let stored = api.object(CONFIGURATION);
    let bundle = base64::engine::general_purpose::STANDARD.encode("a CA");
    let bundles: Vec<_> =
        [0, 1, 2].map(|index| stored["webhooks"][index]["clientConfig"]["caBundle"].clone()).into();
    assert_eq!(bundles, [json!(bundle), json!(bundle), Value::Null]);
    assert_eq!(stored["webhooks"][0]["failurePolicy"], "Ignore", "the rest stays");
    assert!(manager.publish_ca("another CA").await.expect("publishes"));
}

#[tokio::test]
async fn conflicting_ca_write_is_retried() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    api.objects().to_overtake = 2;
    assert!(manager(&api).publish_ca("a CA").await.expect("publishes"));
    assert_eq!(api.written(CONFIGURATION), 1);
    api.objects().to_overtake = usize::MAX;
    let error = manager(&api).publish_ca("another CA").await.expect_err("there is an end to it");
    assert!(matches!(error, Error::NoAgreement), "{error}");
}

/// RBAC cannot restrict `create` to one name.
#[tokio::test]
async fn missing_secret_is_not_created() {
    let api = ApiServer::start().await;
    let error = manager(&api).ensure_certificate(SystemTime::now(), None).await.expect_err("fails");
    assert!(matches!(error, Error::NoSecret(_)), "{error}");
    assert_eq!(api.written(SECRET), 0);
}

#[tokio::test]
async fn ca_is_left_to_cert_manager_cainjector() {
    for annotation in ["cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret"] {
        let api = ApiServer::start().await;
        let mut configuration = configuration();
        configuration["metadata"]["annotations"] = json!({annotation: "podlocal-dns/podlocal-dns-webhook"});
        api.put(CONFIGURATION, configuration);
        assert!(!manager(&api).publish_ca("a CA").await.expect("reads"));
        assert_eq!(api.written(CONFIGURATION), 0);
    }
}

#[tokio::test]
async fn a_failing_api_server_is_an_error_that_says_what_failed() {
    let api = ApiServer::start().await;
    api.objects().to_fail = 1;
    let error = manager(&api).ensure_certificate(SystemTime::now(), None).await.expect_err("fails");
    assert!(matches!(error, Error::Kube { what: "read the Secret", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_is_ready_once_the_ca_is_published() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    api.put_secret(&BTreeMap::new());
    api.objects().to_fail = 2;
    let readiness = Readiness::default();
    let task = tokio::spawn(manager(&api).run(readiness.latch("certificate")));
    eventually("a call fails", || api.objects().failed == 1);
    assert_eq!(readiness.check(), Err("not ready: certificate\n".to_owned()));
    eventually("it is ready", || readiness.check().is_ok());
    assert_eq!(api.objects().failed, 2);
    assert_eq!(api.written(CONFIGURATION), 1, "the CA is written");
    task.abort();
}

/// The built program. Tests in a cluster show that its certificate is served and trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_has_probes_but_no_metrics_and_ends_on_sigterm() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    api.put_secret(&BTreeMap::new());
    let kubeconfig = api.kubeconfig();
    let kubeconfig = kubeconfig.path().to_str().expect("UTF-8");
    let names = ["--certificate-secret", "certificate", "--webhook-configuration", "webhook"];
    let mut controller = Webhook::cert_controller(&[&["--kubeconfig", kubeconfig][..], &names].concat());
    controller.wait_until_ready();
    assert_eq!((api.written(SECRET), api.written(CONFIGURATION)), (1, 1));
    assert_eq!(["/livez", "/metrics"].map(|path| controller.admin_page(path).status), [200, 404]);
    controller.signal(Signal::SIGTERM);
    assert!(controller.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_of_the_api_server_is_read() {
    let api = ApiServer::start().await;
    api.put("/version", json!({"major": "1", "minor": "28+", "gitVersion": "v1.28.3"}));
    let (sender, known) = watch::channel(Cluster::new(&ClusterFlags::default(), ""));
    let task =
        tokio::spawn(discovery::poll_version(api.client(), Arc::new(sender), Arc::new(Metrics::default())));
    eventually("it is known", || known.borrow().version == Some(Version { major: 1, minor: 28 }));
    task.abort();
}

fn names() -> Vec<String> {
    vec!["webhook.test".to_owned()]
}

fn configuration() -> Value {
    let service = json!({"service": {"name": "webhook", "namespace": "default"}});
    let entry = |name: &str, client_config: Value| {
        json!({
            "name": name, "clientConfig": client_config, "failurePolicy": "Ignore", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "webhook"},
        "webhooks": [
            entry("namespaces.test", service.clone()),
            entry("pods.test", service),
            entry("elsewhere.test", json!({"url": "https://elsewhere.test"})),
        ],
    })
}

/// The identity in the Secret.
async fn ensured(manager: &CertificateManager, now: SystemTime, trusted: Option<&str>) -> Identity {
    manager.ensure_certificate(now, trusted).await.expect("there is one").0
}

fn manager(api: &ApiServer) -> CertificateManager {
    CertificateManager {
        client: api.client(),
        secret: "certificate".to_owned(),
        configuration: "webhook".to_owned(),
        dns_names: names(),
        interval: Duration::from_mins(1),
    }
}
