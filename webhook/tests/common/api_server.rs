//! A fake API server with objects by path, in memory: get, list and watch, create, replace with
//! resourceVersion, merge patch, and strategic merge of webhooks by name.
//!
//! A real API server does not fail on request: for a number of requests, with a write conflict, without a
//! permission, with an expired page, or for any time. And `cargo test` needs no cluster. Not implemented:
//! admission, validation and defaults, deletion, server-side apply, subresources and authentication.
//! `tests/cluster/models/api_server.rs` sends the same requests to this one and to a real one, and compares
//! the answers.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync;

#[path = "api_server/watch.rs"]
mod watch;

use watch::Change;

pub(crate) const SECRET: &str = "/api/v1/namespaces/default/secrets/certificate";
pub(crate) const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/webhook";
pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";

/// The resources that can be listed.
const COLLECTIONS: [&str; 6] = ["namespaces", "nodes", "limitranges", "services", "pods", "endpointslices"];

/// A running fake API server; it ends with the runtime in which it was started.
#[derive(Clone)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<Objects>>,
}

#[derive(Default)]
pub(crate) struct Objects {
    by_path: BTreeMap<String, Value>,
    written: BTreeMap<String, usize>,
    read: BTreeMap<String, usize>,
    version: u64,
    is_down: bool,
    /// How many requests will fail.
    pub(crate) to_fail: usize,
    /// How many requests have failed.
    pub(crate) failed: usize,
    /// How many requests that replace or patch will get a conflict.
    pub(crate) to_overtake: usize,
    /// Whether no client may write.
    pub(crate) is_read_only: bool,
    /// Collections that no client may list or watch, and objects that no client may get.
    pub(crate) forbidden: BTreeSet<String>,
    /// How many continue tokens are rejected as expired.
    pub(crate) to_expire: usize,
    /// Every change with its version: a watch begins after the version that it names.
    history: Vec<(u64, Change)>,
    /// Wakes the watches; they end when it is dropped.
    changed: sync::watch::Sender<()>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(Objects { version: 1, ..Objects::default() }));
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

    pub(crate) fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        kube::Client::try_from(kube::Config::new(url)).expect("a client")
    }

    /// A file with a kubeconfig for this server.
    pub(crate) fn kubeconfig(&self) -> tempfile::NamedTempFile {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "test", "user": {}}],
        });
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, kubeconfig.to_string()).expect("writes");
        file
    }

    /// Stores an object, as another client would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.objects().store(path, object);
    }

    /// Removes an object.
    pub(crate) fn remove(&self, path: &str) {
        self.objects().change(path, None);
    }

    pub(crate) fn put_secret(&self, parts: &BTreeMap<String, Vec<u8>>) {
        let data = parts.iter().map(|(name, bytes)| (name.clone(), json!(BASE64.encode(bytes))));
        let data: serde_json::Map<_, _> = data.collect();
        let metadata = json!({"name": "certificate", "namespace": "default", "labels": {"a": "b"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data});
        self.put(SECRET, secret);
    }

    pub(crate) fn put_namespace(&self, name: &str, annotations: &Value, labels: &Value) {
        let metadata = json!({"name": name, "annotations": annotations, "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        self.put(&format!("{NAMESPACES}/{name}"), namespace);
    }

    pub(crate) fn object(&self, path: &str) -> Value {
        self.objects().by_path[path].clone()
    }

    /// Every object below `path`.
    pub(crate) fn below(&self, path: &str) -> Vec<Value> {
        self.objects().below(path)
    }

    /// How often requests have created, replaced or patched the object.
    pub(crate) fn written(&self, path: &str) -> usize {
        self.objects().written.get(path).copied().unwrap_or_default()
    }

    /// How often requests have read it.
    pub(crate) fn read(&self, path: &str) -> usize {
        self.objects().read.get(path).copied().unwrap_or_default()
    }

    /// Lets every request fail from now on, or none; closes all watches.
    pub(crate) fn set_down(&self, is_down: bool) {
        let mut objects = self.objects();
        objects.is_down = is_down;
        objects.changed = sync::watch::Sender::default();
    }

    /// The objects, and what goes wrong from now on.
    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.state.lock().expect("the lock")
    }
}

impl Objects {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        object["metadata"]["resourceVersion"] = json!((self.version + 1).to_string());
        self.change(path, Some(object.clone()));
        object
    }

    fn change(&mut self, path: &str, after: Option<Value>) {
        self.version += 1;
        let before = match after.clone() {
            Some(object) => self.by_path.insert(path.to_owned(), object),
            None => self.by_path.remove(path),
        };
        self.history.push((self.version, Change { path: path.to_owned(), before, after }));
        self.changed.send_replace(());
    }

    /// Every object directly below `path`.
    fn below(&self, path: &str) -> Vec<Value> {
        let items = self.by_path.iter().filter(|(other, _)| is_below(other, path));
        items.map(|(_, object)| object.clone()).collect()
    }
}

/// Whether an object is directly below `path`; for a namespaced resource, a path without a namespace means
/// all namespaces.
fn is_below(object: &str, path: &str) -> bool {
    let Some((up, _)) = object.rsplit_once('/') else { return false };
    let namespaced = up.strip_prefix("/api/v1/namespaces/").and_then(|rest| rest.split_once('/'));
    up == path || namespaced.is_some_and(|(_, kind)| path == format!("/api/v1/{kind}"))
}

async fn serve(State(state): State<Arc<Mutex<Objects>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    // Lets other requests run in between, so that the order is not always that of arrival.
    tokio::task::yield_now().await;
    let mut objects = state.lock().expect("the lock");
    if objects.is_down || objects.to_fail > 0 {
        objects.to_fail = objects.to_fail.saturating_sub(1);
        objects.failed += 1;
        return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    if objects.is_read_only && method != Method::GET {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    let sent: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut path = uri.path().to_owned();
    if method == Method::POST {
        path = format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap_or_default());
    }
    if method == Method::GET && COLLECTIONS.iter().any(|kind| path.ends_with(&format!("/{kind}"))) {
        *objects.read.entry(path).or_default() += 1;
        return watch::list_or_watch(&state, &mut objects, &uri);
    }
    if objects.forbidden.contains(&path) {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    if objects.to_overtake > 0 && (method == Method::PUT || method == Method::PATCH) {
        objects.to_overtake -= 1;
        return status(StatusCode::CONFLICT, "Conflict");
    }
    let stored = objects.by_path.get(&path).cloned();
    let sent_version = &sent["metadata"]["resourceVersion"];
    let is_stale =
        |stored: &Value| !sent_version.is_null() && sent_version != &stored["metadata"]["resourceVersion"];
    let written = match (&method, stored) {
        (&Method::GET, Some(stored)) => {
            *objects.read.entry(path).or_default() += 1;
            return reply(StatusCode::OK, &stored);
        }
        (&Method::POST, Some(_)) => return status(StatusCode::CONFLICT, "AlreadyExists"),
        (&Method::POST, None) => sent,
        (_, None) => return status(StatusCode::NOT_FOUND, "NotFound"),
        (&Method::PUT | &Method::PATCH, Some(stored)) if is_stale(&stored) => {
            return status(StatusCode::CONFLICT, "Conflict");
        }
        (&Method::PUT, Some(_)) => sent,
        (&Method::PATCH, Some(stored)) => patched(stored, &sent),
        _ => return status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    };
    *objects.written.entry(path.clone()).or_default() += 1;
    reply(StatusCode::OK, &objects.store(&path, written))
}

/// A merge, in which the webhooks are merged by name (strategic merge patch).
fn patched(mut stored: Value, sent: &Value) -> Value {
    let mut sent = sent.clone();
    if let Some(entries) = sent.as_object_mut().and_then(|sent| sent.remove("webhooks")) {
        for entry in entries.as_array().into_iter().flatten() {
            let stored = stored["webhooks"].as_array_mut().expect("webhooks");
            let same = stored.iter_mut().find(|other| other["name"] == entry["name"]).expect("that name");
            json_patch::merge(same, entry);
        }
    }
    json_patch::merge(&mut stored, &sent);
    stored
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
