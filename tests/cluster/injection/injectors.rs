//! Other injectors that insert containers before the sidecar.
//!
//! The other injectors are `MutatingAdmissionPolicies` (`admissionregistration.k8s.io/v1`), which need no
//! server and no certificate, so that they work on any cluster that supports them. The API server calls
//! policies before webhooks, and calls both again when one of them has changed the pod (`reinvocationPolicy:
//! IfNeeded`). So this one kind of injector tests both orders:
//!
//! | injector | first round | second round |
//! |---|---|---|
//! | `before` | inserts its container first, then the webhook is called | both find their containers |
//! | `after` | writes an annotation only; the webhook injects | inserts its container before the sidecar; the webhook is called again |
//!
//! A policy that does not match in the first round is not called in the second, hence the annotation.

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, object};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::CONTAINER_NAME;
use serde_json::{Value, json};

use super::{container_names, resolving_pod, run_injected};
use crate::runner::Context;

/// A CEL condition: the pod has this container.
const HAS_OTHER: &str =
    "has(object.spec.initContainers) && object.spec.initContainers.exists(one, one.name == 'other')";

pub(crate) async fn the_sidecar_goes_before_the_container_of_an_earlier_injector(
    context: Context,
) -> Result<(), Failure> {
    let insertion = format!("{HAS_OTHER} ? [] : [{}]", insertion("/spec/initContainers"));
    assert_pod_is_injected_beside(&context.namespace, &insertion).await
}

pub(crate) async fn the_sidecar_moves_before_the_container_of_a_later_injector(
    context: Context,
) -> Result<(), Failure> {
    let has_ours = format!(
        "has(object.spec.initContainers) && object.spec.initContainers.exists(one, one.name == '{CONTAINER_NAME}')"
    );
    let annotation = "JSONPatch{op: 'add', path: '/metadata/annotations', value: {'other': 'was here'}}";
    let insertion = insertion("/spec/initContainers/0");
    let mutation = format!("{HAS_OTHER} ? [] : {has_ours} ? [{insertion}] : [{annotation}]");
    assert_pod_is_injected_beside(&context.namespace, &mutation).await
}

/// A CEL expression that adds an init container which needs DNS: as a new list, or at an index of the list.
fn insertion(path: &str) -> String {
    let image = Libc::Musl.image();
    let container = format!(
        "Object.spec.initContainers{{name: 'other', image: '{image}', command: ['getaddr', '0', 'www.example.com']}}"
    );
    let value = if path.ends_with("/0") { container } else { format!("[{container}]") };
    format!("JSONPatch{{op: 'add', path: '{path}', value: {value}}}")
}

async fn assert_pod_is_injected_beside(namespace: &Namespace, mutation: &str) -> Result<(), Failure> {
    install_injector(namespace, mutation).await?;
    let pod = run_injected(namespace, resolving_pod("client")).await?;
    assert_eq!(container_names(&pod), [CONTAINER_NAME, "other", "client"]);
    Ok(())
}

/// Creates a policy for the pods of this namespace, which is deleted together with the namespace, and waits
/// until it is in effect.
async fn install_injector(namespace: &Namespace, mutation: &str) -> Result<(), Failure> {
    let policy = |kind, spec: Value| object("admissionregistration.k8s.io/v1", kind, &namespace.name, &spec);
    let pods =
        json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] });
    let spec = json!({
        "matchConstraints": { "resourceRules": [pods] },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": mutation } }],
    });
    namespace.apply_to_cluster(policy("MutatingAdmissionPolicy", spec)).await?;
    let namespaces = json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace.name } });
    let spec = json!({ "policyName": namespace.name, "matchResources": { "namespaceSelector": namespaces } });
    namespace.apply_to_cluster(policy("MutatingAdmissionPolicyBinding", spec)).await?;
    eventually("the API server applies the policy", async || {
        let shown = namespace.apply_with(resolving_pod("client"), "dryRun=All").await?.object;
        Ok(container_names(&shown).iter().any(|name| name == "other").then_some(()))
    })
    .await
}
