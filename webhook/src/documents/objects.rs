//! The objects of documents, and where the pod template of a built-in kind is. Pure.

use serde_json::Value;

/// The JSON pointer to the pod template in a built-in kind of Kubernetes; `None` for other kinds.
pub(crate) fn pod_path(version: &str, kind: &str) -> Option<&'static str> {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(""),
        ("", "PodTemplate") => Some("/template"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// Checks that a document, and every item of a List, is an object. `Err` names the item and what was
/// expected.
pub(crate) fn expect_objects(document: &Value) -> Result<(), String> {
    let wrong = |place: &str, value: &Value| {
        let what = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => return Ok(()),
        };
        Err(format!("{place}expected an object with apiVersion and kind, found {what}"))
    };
    wrong("", document)?;
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = document["items"].as_array().filter(|_| is_list);
    let mut items = items.into_iter().flatten().enumerate();
    items.try_for_each(|(index, item)| wrong(&format!("item {}: ", index + 1), item))
}
