//! Which pods the API server sends to the webhook: evaluates the selectors and match conditions of the
//! webhook configuration as the API server does (`k8s.io/apiserver/pkg/admission/plugin/webhook/generic`).

mod common;

use std::collections::{BTreeMap, BTreeSet};

use cel::{Context, Program};
use common::golden::cases;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use podlocal_settings::names::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

/// The skip reasons that no label and no setting can remove.
const HOPELESS: [&str; 3] = ["host_network", "mirror_pod", "windows_pod"];

/// Golden pods that only the webhook recognizes: reading the affinity in CEL would slow down every creation
/// of a pod.
const FOUND_OUT: [&str; 2] = ["skip-windows-by-affinity", "skip-windows-by-options"];

#[test]
fn match_conditions_exclude_exactly_uninjectable_pods() {
    let mut kept_away = BTreeSet::new();
    for case in cases() {
        let reason = case.review(&case.input).summary["reason"].as_str().expect("a reason").to_owned();
        for entry in entries() {
            let is_called = conditions(&entry).iter().all(|condition| holds(condition, &case.input));
            let is_hopeless =
                HOPELESS.contains(&reason.as_str()) && !FOUND_OUT.contains(&case.name().as_str());
            assert_eq!(is_called, !is_hopeless, "{}: {reason}", case.name());
        }
        kept_away.extend(HOPELESS.contains(&reason.as_str()).then_some(reason));
    }
    assert_eq!(kept_away.len(), HOPELESS.len(), "each has a golden pod: {kept_away:?}");
}

#[test]
fn match_conditions_accept_minimal_pods() {
    for condition in entries().iter().flat_map(conditions) {
        for pod in [
            json!({"metadata": {}, "spec": {"containers": []}}),
            json!({"metadata": {"annotations": {"a": "b"}}, "spec": {
                "containers": [], "hostNetwork": false, "os": {"name": "linux"}, "nodeSelector": {"disk": "ssd"},
            }}),
            json!({"metadata": {}, "spec": {
                "containers": [], "nodeSelector": {"disk": "ssd", "kubernetes.io/os": "linux"},
            }}),
        ] {
            assert!(holds(&condition, &pod), "{condition}");
        }
    }
}

#[test]
fn pod_is_sent_at_most_once_according_to_labels() {
    let (enabled, disabled) = (Some(INJECT_ENABLED), Some(INJECT_DISABLED));
    for (namespace, of_namespace, of_pod, expected) in [
        ("web", enabled, None, Some(0)),
        ("web", enabled, enabled, Some(0)),
        ("web", enabled, Some("maybe"), Some(0)),
        ("web", enabled, disabled, None),
        ("web", None, None, None),
        ("web", None, disabled, None),
        ("web", None, enabled, Some(1)),
        ("web", disabled, enabled, Some(1)),
        ("web", Some("maybe"), None, None),
        ("kube-system", enabled, None, None),
        ("kube-system", None, enabled, None),
        ("kube-node-lease", enabled, None, None),
        ("kube-node-lease", None, enabled, None),
        ("podlocal-dns", enabled, enabled, None),
    ] {
        let labels = |label: Option<&str>| label.map(|label| (INJECT_LABEL.to_owned(), label.to_owned()));
        let names = [("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())];
        let (of_namespace, of_pod) = (names.into_iter().chain(labels(of_namespace)), labels(of_pod));
        let (of_namespace, of_pod) = (of_namespace.collect(), of_pod.into_iter().collect());
        let entries = entries().into_iter().enumerate().filter(|(_, entry)| {
            selects(&entry["namespaceSelector"], &of_namespace) && selects(&entry["objectSelector"], &of_pod)
        });
        let callers: Vec<_> = entries.map(|(index, _)| index).collect();
        assert_eq!(callers, Vec::from_iter(expected), "{of_namespace:?} {of_pod:?}");
    }
}

/// Evaluates a label selector as the API server does.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let selector: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
    Selector::try_from(selector).expect("valid").matches(labels)
}

/// Whether the condition is true; a failing evaluation would be an error in the API server.
fn holds(condition: &str, pod: &Value) -> bool {
    let program = Program::compile(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
    let mut context = Context::default();
    context.add_variable("object", without_nulls(pod)).expect("a value");
    match program.execute(&context) {
        Ok(cel::Value::Bool(is_so)) => is_so,
        other => panic!("{condition}: {other:?}"),
    }
}

/// The API server decodes a pod into its types first, so null counts as absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            members.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn conditions(entry: &Value) -> Vec<String> {
    let conditions = entry["matchConditions"].as_array().expect("conditions");
    conditions.iter().map(|condition| condition["expression"].as_str().expect("a text").to_owned()).collect()
}

fn entries() -> Vec<Value> {
    let text = include_str!("../../manifests/base/mutatingwebhookconfiguration.yaml");
    let configuration = yaml::read(text).expect("YAML").remove(0);
    configuration["webhooks"].as_array().expect("webhooks").clone()
}
