//! The certificate in the Secret, against a small API server with optimistic concurrency.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{Method, StatusCode, Uri, header};
use kube::Client;
use podlocal_webhook::certificates::Identity;
use podlocal_webhook::cluster::{Cluster, ClusterFlags, Version};
use podlocal_webhook::discovery;
use podlocal_webhook::keeper::{Error, Keeper};
use podlocal_webhook::metrics::Metrics;
use podlocal_webhook::readiness::Readiness;
use podlocal_webhook::tls::Served;
use serde_json::{Value, json};
use tokio::sync::watch;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SECRET: &str = "/api/v1/namespaces/default/secrets/certificate";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/webhook";
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_start_at_once_agree_on_one_certificate() {
    for _ in 0..10 {
        let api = ApiServer::start().await;
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let keeper = api.keeper();
                tokio::spawn(async move { keeper.agree(SystemTime::now(), None).await.expect("agrees").0.ca })
            })
            .collect();
        let mut authorities = Vec::new();
        for task in tasks {
            authorities.push(task.await.expect("ends"));
        }
        authorities.dedup();
        assert_eq!(authorities.len(), 1);
        assert_eq!(api.written(SECRET), 1);
    }
}

#[tokio::test]
async fn a_secret_that_is_there_is_taken_as_it_is() {
    let api = ApiServer::start().await;
    let (first, _) = api.keeper().agree(SystemTime::now(), None).await.expect("agrees");
    let (second, usable) = api.keeper().agree(SystemTime::now(), None).await.expect("agrees");
    assert_eq!(first, second);
    assert!(usable.expires > 1_700_000_000);
    assert_eq!(api.written(SECRET), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_used_is_replaced_once_whoever_comes() {
    let two_years_ago = SystemTime::now() - Duration::from_hours(2 * 365 * 24);
    let expired = Identity::make(&names(), two_years_ago).expect("makes").parts();
    let other_name = Identity::make(&["other".to_owned()], SystemTime::now()).expect("makes").parts();
    let garbage = BTreeMap::from([("tls.crt".to_owned(), b"garbage".to_vec())]);
    for parts in [expired, other_name, garbage, BTreeMap::new()] {
        let api = ApiServer::start().await;
        api.put_secret(&parts);
        let (one, two) = (api.keeper(), api.keeper());
        let now = SystemTime::now();
        let (one, two) = tokio::join!(one.agree(now, None), two.agree(now, None));
        assert_eq!(one.expect("agrees").0, two.expect("agrees").0);
        assert_eq!(api.written(SECRET), 1, "written once");
        assert_eq!(api.object(SECRET)["type"], "Opaque", "the type stays");
    }
}

#[tokio::test]
async fn the_ca_is_written_into_every_entry_that_calls_a_service_and_only_when_it_differs() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    let keeper = api.keeper();
    assert!(keeper.publish("a CA").await.expect("publishes"));
    assert!(!keeper.publish("a CA").await.expect("publishes"));
    assert_eq!(api.written(CONFIGURATION), 1);
    let stored = api.object(CONFIGURATION);
    let bundle = base64::engine::general_purpose::STANDARD.encode("a CA");
    let bundles: Vec<_> =
        [0, 1, 2].map(|index| stored["webhooks"][index]["clientConfig"]["caBundle"].clone()).into();
    assert_eq!(bundles, [json!(bundle), json!(bundle), Value::Null]);
    assert_eq!(stored["webhooks"][0]["failurePolicy"], "Ignore", "the rest stays");
    assert!(keeper.publish("another CA").await.expect("publishes"));
}

#[tokio::test]
async fn a_failing_api_server_is_an_error_that_says_what_failed() {
    let api = ApiServer::start().await;
    api.fail_next(1);
    let error = api.keeper().agree(SystemTime::now(), None).await.expect_err("fails");
    assert!(matches!(error, Error::Kube { what: "read the Secret", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_until_the_api_server_has_answered() {
    let api = ApiServer::start().await;
    api.put(CONFIGURATION, configuration());
    api.fail_next(2);
    let readiness = Readiness::default();
    let latch = readiness.latch("certificate");
    let served = Arc::new(Served::default());
    let task = tokio::spawn(api.keeper().run(served, Arc::new(Metrics::new()), latch, |_: &str| {}));
    eventually(|| api.failed() == 1).await;
    assert_eq!(readiness.missing(), ["certificate"]);
    eventually(|| readiness.missing().is_empty()).await;
    assert_eq!(api.failed(), 2);
    eventually(|| api.written(CONFIGURATION) == 1).await;
    task.abort();
}

#[tokio::test]
async fn the_version_of_the_api_server_becomes_known() {
    let api = ApiServer::start().await;
    api.put("/version", json!({"major": "1", "minor": "28+", "gitVersion": "v1.28.3"}));
    let (sender, known) = watch::channel(Cluster::new(&ClusterFlags::default(), ""));
    let task = tokio::spawn(discovery::follow_version(api.client(), Arc::new(sender)));
    eventually(|| known.borrow().version == Some(Version { major: 1, minor: 28 })).await;
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

async fn eventually(condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "it never came true");
        tokio::task::yield_now().await;
    }
}

/// An API server that keeps objects by path: get, create, replace with the resourceVersion, merge patch of the
/// webhooks by name.
#[derive(Clone)]
struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<Objects>>,
}

#[derive(Default)]
struct Objects {
    by_path: BTreeMap<String, Value>,
    written: BTreeMap<String, usize>,
    version: u64,
    to_fail: usize,
    failed: usize,
}

impl ApiServer {
    async fn start() -> Self {
        let state = Arc::new(Mutex::new(Objects::default()));
        let router = Router::new().fallback(serve).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(
            axum_server::from_tcp(listener.into_std().expect("a socket"))
                .expect("listens")
                .serve(router.into_make_service()),
        );
        Self { address, state }
    }

    fn client(&self) -> Client {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        Client::try_from(kube::Config::new(url)).expect("a client")
    }

    fn keeper(&self) -> Keeper {
        Keeper {
            client: self.client(),
            secret: "certificate".to_owned(),
            configuration: "webhook".to_owned(),
            dns_names: names(),
            clock: Arc::new(SystemTime::now),
            interval: Duration::from_mins(1),
        }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.state.lock().expect("the lock")
    }

    fn put(&self, path: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!("1");
        self.objects().by_path.insert(path.to_owned(), object);
    }

    fn put_secret(&self, parts: &BTreeMap<String, Vec<u8>>) {
        let encoded = parts.iter().map(|(name, bytes)| {
            (name.clone(), json!(base64::engine::general_purpose::STANDARD.encode(bytes)))
        });
        let data: serde_json::Map<_, _> = encoded.collect();
        let metadata = json!({"name": "certificate", "namespace": "default"});
        self.put(
            SECRET,
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data,
            }),
        );
    }

    fn object(&self, path: &str) -> Value {
        self.objects().by_path[path].clone()
    }

    /// How often the object was created, replaced or patched.
    fn written(&self, path: &str) -> usize {
        self.objects().written.get(path).copied().unwrap_or_default()
    }

    fn fail_next(&self, requests: usize) {
        self.objects().to_fail = requests;
    }

    fn failed(&self) -> usize {
        self.objects().failed
    }
}

async fn serve(
    State(objects): State<Arc<Mutex<Objects>>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    // Lets other requests in between, so that the order is not always that of arrival.
    tokio::task::yield_now().await;
    let mut objects = objects.lock().expect("the lock");
    if objects.to_fail > 0 {
        objects.to_fail -= 1;
        objects.failed += 1;
        return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    let sent: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = match &method {
        &Method::POST if uri.path() == SECRETS => SECRET,
        _ => uri.path(),
    };
    let stored = objects.by_path.get(path).cloned();
    let sent_version = &sent["metadata"]["resourceVersion"];
    let is_stale =
        |stored: &Value| !sent_version.is_null() && sent_version != &stored["metadata"]["resourceVersion"];
    let written = match (&method, stored) {
        (&Method::GET, Some(stored)) => return reply(StatusCode::OK, &stored),
        (&Method::POST, Some(_)) => return status(StatusCode::CONFLICT, "AlreadyExists"),
        (&Method::POST, None) => sent,
        (_, None) => return status(StatusCode::NOT_FOUND, "NotFound"),
        (&Method::PUT | &Method::PATCH, Some(stored)) if is_stale(&stored) => {
            return status(StatusCode::CONFLICT, "Conflict");
        }
        (&Method::PUT, Some(_)) => sent,
        (&Method::PATCH, Some(mut stored)) => {
            for entry in sent["webhooks"].as_array().into_iter().flatten() {
                let stored = stored["webhooks"].as_array_mut().expect("webhooks");
                let same = stored.iter_mut().find(|other| other["name"] == entry["name"]).expect("that name");
                same["clientConfig"]["caBundle"] = entry["clientConfig"]["caBundle"].clone();
            }
            stored
        }
        _ => return status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    };
    let mut written = written;
    objects.version += 1;
    written["metadata"]["resourceVersion"] = json!((objects.version + 1).to_string());
    *objects.written.entry(path.to_owned()).or_default() += 1;
    objects.by_path.insert(path.to_owned(), written.clone());
    reply(StatusCode::OK, &written)
}

fn status(code: StatusCode, reason: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": reason, "reason": reason,
        "code": code.as_u16(),
    });
    reply(code, &status)
}

fn reply(code: StatusCode, body: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
