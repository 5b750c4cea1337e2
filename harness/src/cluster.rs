//! The cluster that `KUBECONFIG` names: the test cluster of this repository, kind, or any other.

pub mod client;
pub mod coredns;
pub mod dns;
pub mod inventory;
pub mod load;
pub mod metrics;
pub mod namespace;
pub mod node;
pub mod pods;
pub mod product;
pub mod tier;

use std::env;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::command::run;
use crate::failure::{Failure, WithContext};
use crate::repository::root;

/// The environment variable with the command that runs its arguments on the cluster's node, for faults of the
/// node itself. `just cluster env` sets it; on kind it is `docker exec kind-control-plane`.
pub const NODE_EXEC_VARIABLE: &str = "CLUSTER_NODE_EXEC";

/// The time-out for a condition. It is far above the usual time on two busy cores.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A connection to the cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The client of the API server, with the rights of an administrator.
    pub client: Client,
}

/// An object as the API server stored it, and the admission warnings of the response.
#[derive(Debug)]
pub struct Created {
    /// The stored object.
    pub object: Value,
    /// The texts of the response's `Warning` headers (RFC 9110 allows several), as kubectl prints them.
    pub warnings: Vec<String>,
}

impl Cluster {
    /// Connects to the cluster of `KUBECONFIG`; never to kubectl's default cluster, which may be in
    /// production.
    pub async fn connect() -> Result<Self, Failure> {
        if env::var_os("KUBECONFIG").is_none() {
            return Err(Failure::new(
                "KUBECONFIG is not set: it names the cluster that these tests install into and break; \
                 start one with `just cluster up` and run: eval \"$(just cluster env)\"",
            ));
        }
        // Fails only when the program has already installed a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_default().await.with_context("reading KUBECONFIG")?;
        client.apiserver_version().await.with_context("asking the API server for its version")?;
        Ok(Self { client })
    }

    /// The objects of one kind, for example `apps/v1` `Deployment`, in a namespace, or in the whole cluster
    /// when that is `None`.
    pub fn api(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates an object. It is sent as untyped JSON, so that no field is lost.
    ///
    /// `query` is the query string of the URL, for example `dryRun=All`, or empty.
    pub async fn create(&self, object: &Value, query: &str) -> Result<Created, Failure> {
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let root = if group.is_empty() { "/api" } else { "/apis" };
        let namespace = object["metadata"]["namespace"].as_str();
        let place = namespace.map_or_else(String::new, |namespace| format!("/namespaces/{namespace}"));
        let path = format!("{root}/{api_version}{place}/{}?{query}", resource.plural);
        let creating = || format!("creating {kind} {}", name_of(object));
        let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(object.to_string().into_bytes().into()).with_context(creating)?;
        let response = self.client.send(request).await.with_context(creating)?;
        let status = response.status();
        let warnings = response.headers().get_all(http::header::WARNING).iter().filter_map(warning).collect();
        let body = response.into_body().collect().await.with_context(creating)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).with_context(creating)?;
        if status.is_success() {
            return Ok(Created { object: body, warnings });
        }
        Err(Failure::new(format!("{}: {status}: {}", creating(), text(&body["message"]))))
    }

    /// Reads an object.
    pub async fn get(&self, api: &Api<DynamicObject>, name: &str) -> Result<Value, Failure> {
        let object = api.get(name).await.with_context(|| format!("reading {name}"))?;
        serde_json::to_value(object).with_context(|| format!("reading {name}"))
    }

    /// Reads the objects whose labels match the selector; an empty selector matches all.
    pub async fn list(&self, api: &Api<DynamicObject>, labels: &str) -> Result<Vec<Value>, Failure> {
        let parameters = ListParams::default().labels(labels);
        let listed =
            api.list(&parameters).await.with_context(|| format!("listing objects with {labels:?}"))?;
        let values = listed.items.into_iter().map(serde_json::to_value);
        values.collect::<Result<_, _>>().with_context(|| format!("listing objects with {labels:?}"))
    }

    /// Applies a JSON merge patch (RFC 7396).
    pub async fn patch(&self, api: &Api<DynamicObject>, name: &str, patch: &Value) -> Result<(), Failure> {
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
            .with_context(|| format!("patching {name}"))
    }
}

/// Runs kubectl as an operator does, and returns its standard output.
pub async fn kubectl(arguments: &[&str]) -> Result<String, Failure> {
    kubectl_with_input(arguments, "").await
}

/// Runs kubectl with a text on standard input.
pub async fn kubectl_with_input(arguments: &[&str], input: &str) -> Result<String, Failure> {
    let mut command = Command::new("kubectl");
    command.args(arguments).current_dir(root());
    run(command, input).await
}

/// Runs Helm, and returns its standard output.
pub async fn helm(arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("helm");
    command.args(arguments).current_dir(root());
    run(command, "").await
}

/// Runs a command on the node; `None` when [`NODE_EXEC_VARIABLE`] is not set.
pub async fn on_node(arguments: &[&str]) -> Option<Result<String, Failure>> {
    let prefix = env::var(NODE_EXEC_VARIABLE).ok()?;
    let mut words = prefix.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words).args(arguments);
    Some(run(command, "").await)
}

/// Whether commands can be run on the node.
pub fn has_node_access() -> bool {
    env::var_os(NODE_EXEC_VARIABLE).is_some()
}

/// The current context of `KUBECONFIG`.
pub async fn context() -> Result<String, Failure> {
    Ok(kubectl(&["config", "current-context"]).await?.trim().to_owned())
}

/// Waits until `check` returns a value, at most [`DEADLINE`]. `what` names the condition in the error.
pub async fn eventually<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + DEADLINE;
    loop {
        let last = match check().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        if Instant::now() > end {
            let why = last.map_or_else(String::new, |failure| format!("; at last: {failure}"));
            return Err(Failure::new(format!(
                "timed out after {} s waiting for: {what}{why}",
                DEADLINE.as_secs()
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The name or generateName of an object.
pub fn name_of(object: &Value) -> &str {
    let metadata = &object["metadata"];
    metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default()
}

/// A new object with a `spec`.
pub fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// The text of a warning header, `299 - "text"` (RFC 7234 section 5.5), which Kubernetes still writes.
fn warning(header: &http::HeaderValue) -> Option<String> {
    let text = header.to_str().ok()?;
    let quoted = text.split_once('"')?.1.rsplit_once('"')?.0;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
