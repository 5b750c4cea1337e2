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

/// A pod after admission.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The pod as it would be stored.
    pub pod: Value,
    /// The admission warnings, as `kubectl` would show them.
    pub warnings: Vec<String>,
}

/// The pod with the fields that the API server fills in before admission.
///
/// These are the defaults of `SetDefaults_Pod*` in pkg/apis/core/v1/defaults.go and of the admission plugins
/// ServiceAccount and DefaultTolerationSeconds, without the volume of the service account's token, which the
/// model of a node cannot mount.
#[must_use]
pub fn defaulted(mut pod: Value) -> Value {
    set_absent(&mut pod, "apiVersion", json!("v1"));
    set_absent(&mut pod, "kind", json!("Pod"));
    let spec = &mut pod["spec"];
    set_absent(spec, "dnsPolicy", json!("ClusterFirst"));
    set_absent(spec, "enableServiceLinks", json!(true));
    set_absent(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    set_absent(spec, "priority", json!(0));
    set_absent(spec, "restartPolicy", json!("Always"));
    set_absent(spec, "schedulerName", json!("default-scheduler"));
    set_absent(spec, "securityContext", json!({}));
    set_absent(spec, "serviceAccount", json!("default"));
    set_absent(spec, "serviceAccountName", json!("default"));
    set_absent(spec, "terminationGracePeriodSeconds", json!(30));
    let toleration = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let tolerations =
        json!([toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")]);
    set_absent(spec, "tolerations", tolerations);
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let is_latest = container["image"].as_str().is_none_or(|image| {
                let tag = image.rsplit_once('/').map_or(image, |(_, last)| last).split_once(':');
                !image.contains('@') && tag.is_none_or(|(_, tag)| tag == "latest")
            });
            let policy = if is_latest { "Always" } else { "IfNotPresent" };
            set_absent(container, "imagePullPolicy", json!(policy));
            set_absent(container, "resources", json!({}));
            set_absent(container, "terminationMessagePath", json!("/dev/termination-log"));
            set_absent(container, "terminationMessagePolicy", json!("File"));
        }
    }
    // The indexing above creates null for absent fields.
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
    pod
}

fn set_absent(object: &mut Value, key: &str, value: Value) {
    if object[key].is_null() {
        object[key] = value;
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

/// Applies the response to a review as the API server does.
pub fn apply(pod: &Value, uid: &str, answer: &Value) -> Result<Admitted, Failure> {
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
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Admitted { pod, warnings })
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
