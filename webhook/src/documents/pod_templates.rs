//! Finds the pod templates of any kind that has them in the usual place: an object with `metadata` and
//! `spec.containers` somewhere below `spec`, below a key that ends in `template`. Pure.
//!
//! The kinds of Kubernetes, Kubeflow, Volcano, JobSet, Ray, Knative and Argo Rollouts follow this convention.

use serde_json::Value;

/// The fields whose number multiplies the pods below them.
pub(crate) const MULTIPLIERS: [&str; 2] = ["replicas", "parallelism"];

/// Keys on the path to a template that do not help to identify it.
const SILENT: [&str; 5] = ["spec", "template", "jobTemplate", "podTemplate", "workerTemplate"];

/// A pod template in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodTemplate {
    /// The JSON pointer (RFC 6901) to it.
    pub(crate) pointer: String,
    /// The last key or name on the path that helps to identify it; empty if there is none.
    pub(crate) part: String,
    /// The product of the numbers of pods on the path.
    pub(crate) pods: u64,
}

/// The pod templates of an object, in their order.
pub(crate) fn find(object: &Value) -> Vec<PodTemplate> {
    let mut found = Vec::new();
    for key in ["spec", "template"] {
        search(&object[key], format!("/{key}"), "", 1, &mut found);
    }
    found
}

fn search(value: &Value, pointer: String, part: &str, pods: u64, found: &mut Vec<PodTemplate>) {
    match value {
        Value::Object(_)
            if pointer.to_ascii_lowercase().ends_with("template")
                && value["spec"]["containers"].is_array() =>
        {
            found.push(PodTemplate { pointer, part: part.to_owned(), pods });
        }
        Value::Object(members) => {
            let times = MULTIPLIERS.iter().filter_map(|name| value[name].as_u64());
            let pods = times.fold(pods, u64::saturating_mul);
            for (key, member) in members {
                let part = if SILENT.contains(&key.as_str()) { part } else { key };
                let token = key.replace('~', "~0").replace('/', "~1");
                search(member, format!("{pointer}/{token}"), part, pods, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = ["name", "groupName"].iter().find_map(|key| item[key].as_str());
                let index = index.to_string();
                search(item, format!("{pointer}/{index}"), name.unwrap_or(&index), pods, found);
            }
        }
        _ => {}
    }
}
