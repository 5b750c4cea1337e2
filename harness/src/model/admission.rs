//! A model of the API server for pods: defaults, the admission review, the patch, the generated name.
//!
//! With it, the real webhook injects the pods of `cargo test` and `gang` without a cluster. The model does
//! not have: selectors and match conditions of the webhook configuration (every pod is reviewed), validation,
//! quotas, LimitRanges, Pod Security, other webhooks and reinvocation, and objects other than pods.
//! `tests/cluster/injection.rs` tests all of these in a real cluster, and `tests/cluster/models.rs` compares
//! every field that the model stores with the real API server.

mod client;
mod webhook;

pub use client::ReviewClient;
pub use webhook::Webhook;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::failure::{Failure, WithContext};

/// The characters of generated names: `alphanums` of k8s.io/apimachinery/pkg/util/rand, no vowels.
const NAME_CHARACTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The number of characters that are appended to `generateName`.
const SUFFIX: u32 = 5;

/// The pod with the fields that the API server fills in before admission.
///
/// These are the defaults of `SetDefaults_Pod*` in pkg/apis/core/v1/defaults.go and of the admission plugins
/// ServiceAccount and DefaultTolerationSeconds, without the volume of the service account's token, which the
/// model of a node cannot mount.
#[must_use]
pub fn defaulted(mut pod: Value) -> Value {
    let toleration = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let spec = json!({
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")],
    });
    fill(&mut pod, &json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec }));
    let container = json!({
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    });
    for list in ["/spec/initContainers", "/spec/containers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(|one| fill(one, &container));
    }
    pod
}

/// Adds the fields that are absent.
fn fill(value: &mut Value, defaults: &Value) {
    match (value, defaults) {
        (Value::Object(fields), Value::Object(defaults)) => {
            for (name, default) in defaults {
                fill(fields.entry(name).or_insert(Value::Null), default);
            }
        }
        (value @ Value::Null, default) => *value = default.clone(),
        _ => {}
    }
}

/// The AdmissionReview that the API server sends for a new pod.
#[must_use]
pub fn review(pod: &Value, namespace: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
            "requestResource": { "group": "", "version": "v1", "resource": "pods" },
            "name": pod["metadata"]["name"].as_str().unwrap_or_default(),
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:job-controller",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}

/// Applies the response to a review as the API server does. Returns the pod and the admission warnings.
pub fn apply(pod: &Value, uid: &str, answer: &Value) -> Result<(Value, Vec<String>), Failure> {
    let response = &answer["response"];
    if answer["apiVersion"] != "admission.k8s.io/v1" || answer["kind"] != "AdmissionReview" {
        return Err(Failure::new(format!("the webhook's answer is not an AdmissionReview: {answer}")));
    }
    if response["uid"] != uid {
        return Err(Failure::new(format!("the answer is for {}, the review was {uid}", response["uid"])));
    }
    if response["allowed"] != true {
        return Err(Failure::new(format!("the webhook has refused the pod: {}", response["status"])));
    }
    let mut pod = pod.clone();
    if let Some(patch) = response["patch"].as_str() {
        if response["patchType"] != "JSONPatch" {
            return Err(Failure::new(format!("patchType is {}, not JSONPatch", response["patchType"])));
        }
        let patch = STANDARD.decode(patch).with_context("decoding the patch")?;
        let patch: json_patch::Patch = serde_json::from_slice(&patch).with_context("parsing the patch")?;
        json_patch::patch(&mut pod, &patch).with_context("applying the patch")?;
    }
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok((pod, warnings.map(str::to_owned).collect()))
}

/// Gives a pod with `generateName` its name, as the API server does after admission: `SimpleNameGenerator` of
/// pkg/storage/names, with `number` instead of a random value.
#[must_use]
pub fn named(mut pod: Value, namespace: &str, number: u32) -> Value {
    pod["metadata"]["namespace"] = json!(namespace);
    if pod["metadata"]["name"].as_str().is_none() {
        let base = pod["metadata"]["generateName"].as_str().unwrap_or("pod-").to_owned();
        pod["metadata"]["name"] = json!(base + &suffix(number));
    }
    pod
}

fn suffix(number: u32) -> String {
    // The factor is odd, so the multiplication maps different numbers to different names, and neighbours look
    // different.
    let count = u32::try_from(NAME_CHARACTERS.len()).unwrap_or(27);
    let mut rest = number.wrapping_mul(7_368_787) % count.pow(SUFFIX);
    let mut next = || {
        let character = NAME_CHARACTERS[rest as usize % NAME_CHARACTERS.len()];
        rest /= count;
        char::from(character)
    };
    (0..SUFFIX).map(|_| next()).collect()
}
