//! Injection: tests the objects that the API server stores, and that the pods run and resolve names.
//!
//! Most pods resolve [`NAMES`] immediately after their start, so that their logs show whether DNS works from
//! the first instruction.

pub(crate) mod injectors;
pub(crate) mod left_alone;
pub(crate) mod limits;
pub(crate) mod pods;
pub(crate) mod workloads;

use podlocal_harness::cluster::client::{Libc, Lookup, pod};
use podlocal_harness::cluster::eventually;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::pods::{is_ready, phase};
use podlocal_harness::cluster::product;
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{CONTAINER_NAME, STATUS_ANNOTATION};
use serde_json::{Value, json};

/// A name that needs the search list, the same name in full, and an external one.
const NAMES: [&str; 3] = ["kubernetes.default", "kubernetes.default.svc.cluster.local", "www.example.com"];

/// A command that resolves [`NAMES`] and ends.
const RESOLVE: [&str; 5] = ["getaddr", "0", NAMES[0], NAMES[1], NAMES[2]];

/// A command that resolves [`NAMES`] and then sleeps.
const RESOLVE_AND_SLEEP: [&str; 3] = [
    "sh",
    "-c",
    "getaddr 0 kubernetes.default kubernetes.default.svc.cluster.local www.example.com; exec sleep 3600",
];

/// A pod that resolves [`NAMES`] and sleeps. It uses musl, because that resolver needs the sidecar's
/// completion.
fn resolving_pod(name: &str) -> Value {
    pod(name, Libc::Musl, &RESOLVE_AND_SLEEP)
}

/// Fails unless the stored pod is injected.
pub(crate) fn assert_injected(pod: &Value) {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let shown = essence(pod);
    let first = &spec["initContainers"][0];
    assert_eq!(first["name"], CONTAINER_NAME, "the first init container of {shown}");
    assert_eq!(first["restartPolicy"], "Always", "{shown}");
    assert_eq!(container_names(pod).iter().filter(|name| *name == CONTAINER_NAME).count(), 1, "{shown}");
    assert_eq!(spec["dnsPolicy"], "None", "{shown}");
    assert_eq!(spec["dnsConfig"]["nameservers"], json!(["127.0.0.1"]), "{shown}");
    let status = metadata["annotations"][STATUS_ANNOTATION].as_str().unwrap_or_default();
    assert!(status.starts_with("injected"), "{STATUS_ANNOTATION} is {status:?} in {shown}");
}

/// Fails unless the stored pod has no trace of the product.
fn assert_left_alone(pod: &Value) {
    let shown = essence(pod);
    assert!(pod["metadata"]["name"].is_string(), "not a pod: {shown}");
    assert!(!container_names(pod).iter().any(|name| name == CONTAINER_NAME), "{shown}");
    assert_eq!(pod["metadata"]["annotations"][STATUS_ANNOTATION], Value::Null, "{shown}");
    assert_ne!(pod["spec"]["dnsConfig"]["nameservers"], json!(["127.0.0.1"]), "{shown}");
}

/// The fields that injection changes in a pod; the whole pod is too long for an error message.
fn essence(pod: &Value) -> Value {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    json!({
        "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
        "containers": container_names(pod), "dnsPolicy": spec["dnsPolicy"], "dnsConfig": spec["dnsConfig"],
    })
}

/// The names of all containers, init containers first, in their order.
fn container_names(pod: &Value) -> Vec<String> {
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}

/// An environment variable of the sidecar.
fn variable<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    product::variable(product::sidecar(pod)?, name)
}

/// Waits until a container has looked up [`NAMES`], and fails unless it found all of them.
async fn assert_resolves(namespace: &Namespace, pod: &str, container: &str) -> Result<(), Failure> {
    let lookups = eventually(&format!("{pod}/{container} prints {} lookups", NAMES.len()), async || {
        let lookups = Lookup::read_all(&namespace.log(pod, container).await?);
        Ok((lookups.len() == NAMES.len()).then_some(lookups))
    })
    .await?;
    assert!(!lookups.iter().any(Lookup::is_failure), "{pod}/{container}: {lookups:?}");
    Ok(())
}

/// Creates a pod of [`resolving_pod`], and fails unless it is injected, runs and resolves names. Returns the
/// running pod.
async fn run_injected(namespace: &Namespace, pod: Value) -> Result<Value, Failure> {
    let name = namespace.run(pod).await?;
    let stored = namespace.pod(&name).await?;
    assert_injected(&stored);
    assert_resolves(namespace, &name, "client").await?;
    Ok(stored)
}

/// Waits until at least one pod has these labels, and each such pod is ready or has succeeded.
async fn wait_until_settled(namespace: &Namespace, labels: &str) -> Result<Vec<Value>, Failure> {
    eventually(&format!("pods with {labels} are ready or have succeeded"), async || {
        let pods = namespace.pods(labels).await?;
        let is_settled = |pod: &Value| is_ready(pod) || phase(pod) == "Succeeded";
        Ok((!pods.is_empty() && pods.iter().all(is_settled)).then_some(pods))
    })
    .await
}

/// The owner references for a pod with a new, inactive object as controller, which gets the Events about the
/// pod. Each pod needs its own controller, because Kubernetes aggregates Events about one object with one
/// reason into the first.
async fn controlled(namespace: &Namespace, pod: &str) -> Result<Value, Failure> {
    let name = format!("controller-of-{pod}");
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let uid = namespace.apply(map).await?.object["metadata"]["uid"].clone();
    Ok(json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true }]))
}

/// The notes of the Events in a namespace that have this reason.
async fn event_notes(namespace: &Namespace, reason: &str) -> Result<Vec<String>, Failure> {
    let api = namespace.cluster.api("events.k8s.io/v1", "Event", Some(&namespace.name));
    let events = namespace.cluster.list(&api, "").await?;
    let matching = events.iter().filter(|event| event["reason"] == reason);
    Ok(matching.filter_map(|event| event["note"].as_str()).map(str::to_owned).collect())
}
