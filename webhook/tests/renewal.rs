//! Certificate renewal during reviews, with a moved clock.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::api_server::{ApiServer, CONFIGURATION, SECRET};
use common::{eventually, pod, review_of};
use podlocal_telemetry::Readiness;
use podlocal_webhook::certificates::identity::{Identity, Step};
use podlocal_webhook::certificates::manager::{CertificateManager, Clock};
use podlocal_webhook::certificates::tls::{self, ServingCertificate};
use podlocal_webhook::certificates::tls_files::TlsFiles;
use podlocal_webhook::cluster::events::Events;
use podlocal_webhook::cluster::namespaces::Namespaces;
use podlocal_webhook::metrics::Metrics;
use podlocal_webhook::review::cluster_state::{Cluster, ClusterFlags};
use podlocal_webhook::review::mutate::Policy;
use podlocal_webhook::server::{self, Context};
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use rustls::time_provider::TimeProvider;
use serde_json::json;
use tokio::sync::watch;

const DAY: Duration = Duration::from_hours(24);

/// Two controllers, as during a rolling update; two replicas that mount the Secret; and an API server that
/// calls both replicas continuously, and trusts the CAs of the configuration at the moved time. A CA in its
/// last year gets a successor, which signs a day later, and again two months later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_under_load_loses_no_review() {
    let api = ApiServer::start().await;
    let entry =
        json!({"name": "pods.test", "clientConfig": {"service": {"name": "w", "namespace": "default"}}});
    api.put(CONFIGURATION, json!({"metadata": {"name": "webhook"}, "webhooks": [entry]}));
    let clock = MovedClock::default();
    let old = Identity::make(&names(), clock.now() - 3250 * DAY).expect("makes");
    api.put_secret(&old.renewed(Step::NewCertificate, &names(), clock.now()).expect("renews").parts());
    let readiness = Readiness::default();
    for name in ["one controller", "another controller"] {
        tokio::spawn(manager(&api, &clock).run(readiness.latch(name)));
    }
    let replicas = [Replica::start(&api), Replica::start(&api)];
    eventually("the API server trusts the certificate", || readiness.check().is_ok());

    let (stop, reviews) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers = replicas.each_ref().map(|replica| {
        let (address, api, clock) = (replica.address, api.clone(), clock.clone());
        let (stop, reviews) = (stop.clone(), reviews.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                review(address, &bundle(&api).expect("a CA"), &clock);
                reviews.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for (written, (distance, authorities)) in (1..).zip([(50, 2), (1, 2), (61, 2)]) {
        clock.forward(distance * DAY);
        eventually("the Secret is renewed", || api.written(SECRET) == written);
        // In a cluster this takes a minute, and the next step comes months later.
        let kept = api.object(SECRET)["data"]["tls.crt"].clone();
        let kept = BASE64.decode(kept.as_str().expect("a text")).expect("base64");
        let kept = CertificateDer::from_pem_slice(&kept).expect("a certificate");
        let trust = || bundle(&api).expect("CAs");
        eventually("both serve what is kept, and it is trusted", || {
            trust().matches("END CERTIFICATE").count() == authorities
                && replicas.iter().all(|replica| {
                    let served = try_review(replica.address, &trust(), &clock);
                    served.is_ok_and(|served| served == kept)
                })
        });
        let reviewed = reviews.load(Ordering::Relaxed);
        eventually("reviews go on", || reviews.load(Ordering::Relaxed) > reviewed + 8);
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().expect("every review was answered");
    }
    assert_eq!(api.written(SECRET), 3);
}

#[tokio::test]
async fn failed_renewal_keeps_the_current_certificate() {
    let api = ApiServer::start().await;
    let clock = MovedClock::default();
    let identity = Identity::make(&names(), clock.now()).expect("makes");
    api.put_secret(&identity.parts());
    clock.forward(61 * DAY);
    api.refuse_writes();
    let (kept, _) = manager(&api, &clock).ensure_certificate(clock.now(), None).await.expect("there is one");
    assert_eq!(kept.parts(), identity.parts());
    assert_eq!(api.written(SECRET), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_tls_files_are_served_once_both_match() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let clock = MovedClock::default();
    let [first, second] = [(); 2].map(|()| Identity::make(&names(), clock.now()).expect("makes").parts());
    let text = |parts: &Parts, name: &str| String::from_utf8(parts[name].clone()).expect("PEM");
    let write = |parts: &Parts, file: &std::path::Path, name: &str| {
        std::fs::write(file, &parts[name]).expect("writes");
    };
    write(&first, &certificate, "tls.crt");
    write(&first, &key, "tls.key");

    let (served, metrics) = (Arc::new(ServingCertificate::default()), Arc::new(Metrics::default()));
    let files = TlsFiles::load(&certificate, &key, &served, &metrics).expect("serves");
    tokio::spawn(files.reload_on_change(served.clone(), metrics.clone(), LOOK));
    let replica = Replica::serve(served);
    review(replica.address, &text(&first, "ca.crt"), &clock);
    // cert-manager updates a Secret atomically; a person copies one file after the other.
    write(&second, &key, "tls.key");
    for _ in 0..10 {
        review(replica.address, &text(&first, "ca.crt"), &clock);
    }
    write(&second, &certificate, "tls.crt");
    eventually("the new one is served", || {
        try_review(replica.address, &text(&second, "ca.crt"), &clock).is_ok()
    });
    assert!(try_review(replica.address, &text(&first, "ca.crt"), &clock).is_err());
}

/// A volume of the Secret that lags behind the stored data, as with the kubelet.
fn mounted(api: &ApiServer) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let api = api.clone();
    let copy = move || {
        for name in ["tls.crt", "tls.key"] {
            let kept = api.object(SECRET)["data"][name].clone();
            let kept = BASE64.decode(kept.as_str().expect("a text")).expect("base64");
            // The folder is removed at the end of the test, before this task ends.
            let _ = std::fs::write(path.join(name), kept);
        }
    };
    copy();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(5 * LOOK).await;
            copy();
        }
    });
    folder
}

fn manager(api: &ApiServer, clock: &MovedClock) -> CertificateManager {
    CertificateManager {
        client: api.client(),
        secret: "certificate".to_owned(),
        configuration: "webhook".to_owned(),
        dns_names: names(),
        clock: clock.for_manager(),
        interval: LOOK,
    }
}

type Parts = std::collections::BTreeMap<String, Vec<u8>>;

/// How often a replica of this test reads the API server and its files.
const LOOK: Duration = Duration::from_millis(20);

/// A webhook in this process, so that its clock can be moved.
struct Replica {
    address: SocketAddr,
    _mounted: Option<tempfile::TempDir>,
}

impl Replica {
    /// A replica that mounts the Secret.
    fn start(api: &ApiServer) -> Self {
        let mounted = mounted(api);
        let (served, metrics) = (Arc::new(ServingCertificate::default()), Arc::new(Metrics::default()));
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| mounted.path().join(name));
        let files = TlsFiles::load(&certificate, &key, &served, &metrics).expect("serves");
        tokio::spawn(files.reload_on_change(served.clone(), metrics, LOOK));
        Self { _mounted: Some(mounted), ..Self::serve(served) }
    }

    fn serve(served: Arc<ServingCertificate>) -> Self {
        let metrics = Arc::new(Metrics::default());
        let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
        let context = Context::new(
            watch::channel(Cluster::new(&flags, "")).1,
            Policy { image: "sidecar:test".to_owned(), defaults: Vec::new() },
            Namespaces::default(),
            Events::none(metrics.clone()),
            metrics.clone(),
        );
        let listener = server::bind(Some(([127, 0, 0, 1], 0).into()), 0).expect("binds");
        let address = listener.local_addr().expect("an address");
        let tls = RustlsConfig::from_config(Arc::new(tls::server_config(served, None).expect("TLS")));
        let router = server::reviews(Arc::new(context), server::Draining::default());
        tokio::spawn(server::serve_tls(listener, tls, router, metrics, Handle::new()));
        Self { address, _mounted: None }
    }
}

/// The system's clock, moved forward.
#[derive(Debug, Clone, Default)]
struct MovedClock(Arc<AtomicU64>);

impl MovedClock {
    fn forward(&self, distance: Duration) {
        self.0.fetch_add(distance.as_secs(), Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn for_manager(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

impl TimeProvider for MovedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.now().duration_since(UNIX_EPOCH).ok()?))
    }
}

/// The CAs that the API server trusts.
fn bundle(api: &ApiServer) -> Option<String> {
    let text = api.object(CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"].clone();
    text.as_str().map(|text| String::from_utf8(BASE64.decode(text).expect("base64")).expect("PEM"))
}

/// Sends a review over a new connection.
fn review(address: SocketAddr, ca: &str, clock: &MovedClock) {
    try_review(address, ca, clock).expect("the review is answered");
}

/// The same; returns the certificate that was served.
fn try_review(address: SocketAddr, ca: &str, clock: &MovedClock) -> std::io::Result<CertificateDer<'static>> {
    let authorities: Vec<_> =
        CertificateDer::pem_slice_iter(ca.as_bytes()).map(|authority| authority.expect("a CA")).collect();
    let mut connection = common::connect_at(address, &authorities, Arc::new(clock.clone()));
    while connection.conn.is_handshaking() {
        connection.conn.complete_io(&mut connection.sock)?;
    }
    let served = connection.conn.peer_certificates().expect("a chain")[0].clone().into_owned();
    let body = review_of(&pod()).to_string();
    let head = common::head("POST", "/mutate", "application/json", body.len());
    let answer = common::request(connection, &head, body.as_bytes());
    assert!(answer.status == 200 && answer.body.contains("\"patch\""), "{answer:?}");
    Ok(served)
}

fn names() -> Vec<String> {
    vec!["webhook.test".to_owned()]
}
