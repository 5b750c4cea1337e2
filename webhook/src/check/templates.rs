//! Finds the pods that would be created from documents. Pure.
//!
//! Every kind is supported whose pod template is in the usual place: an object with `metadata` and
//! `spec.containers` somewhere below `spec`, below a key that ends in `template`. Kubeflow, Volcano, JobSet,
//! Ray, Knative and Argo Rollouts follow this convention.

use std::collections::HashSet;

use podlocal_settings::read::SettingError;
use serde_json::{Value, json};

use super::invalid_fields::{MULTIPLIERS, is_template};
use super::workload::{Pods, Workload};
use crate::documents::kinds::pod_path;
use crate::documents::misplaced_metadata::find_misplaced;

/// A pod template, and its workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    /// The workload.
    pub(crate) workload: Workload,
    /// The number of pods that are created from it.
    pub(crate) pods: Pods,
    /// The pod as it would be created.
    pub(crate) pod: Value,
    /// The labels and annotations on the object that have no effect.
    pub(crate) misplaced: Vec<SettingError>,
}

/// Keys on the path to a template that do not help to identify it.
const SILENT: [&str; 5] = ["spec", "template", "jobTemplate", "podTemplate", "workerTemplate"];

/// The objects in the documents: the documents themselves, or the items of Lists. An item of a typed list may
/// omit its kind. Values that are not objects are left out.
pub(crate) fn objects(documents: Vec<Value>) -> Vec<Value> {
    let mut objects = Vec::new();
    for mut document in documents {
        let kind = document["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
        match (kind, document.get_mut("items").and_then(Value::as_array_mut)) {
            (Some(kind), Some(items)) => {
                objects.extend(std::mem::take(items).into_iter().map(|item| of_kind(item, &kind)));
            }
            _ => objects.push(document),
        }
    }
    objects.retain(Value::is_object);
    objects
}

/// An item of a typed list, with the kind that it may omit.
fn of_kind(mut item: Value, kind: &str) -> Value {
    if let Some(members) = item.as_object_mut()
        && members.get("kind").is_none_or(Value::is_null)
    {
        members.insert("kind".to_owned(), json!(kind));
    }
    item
}

/// The pod templates of all objects, without objects whose controller is among the documents: they are
/// created from the template of the controller.
pub(crate) fn templates(objects: &[Value], namespace: &str) -> Vec<Template> {
    let identity = |object: &Value| {
        let of = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
        (of, kind(object).to_owned())
    };
    let mut found = Vec::new();
    let of_controllers: HashSet<_> = objects
        .iter()
        .filter(|object| !below(object).is_empty())
        .map(|object| {
            let (namespace, kind) = identity(object);
            (namespace, kind, name(object).to_owned())
        })
        .collect();
    for object in objects {
        let (namespace, kind) = identity(object);
        let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let controller = owners.find(|owner| owner["controller"] == true);
        let is_here = |owner: &Value| {
            let [kind, name] = ["kind", "name"].map(|key| owner[key].as_str().unwrap_or_default().to_owned());
            of_controllers.contains(&(namespace.clone(), kind, name))
        };
        if controller.is_some_and(is_here) {
            continue;
        }
        let name = name(object);
        for (part, pods, pod) in below(object) {
            let name = if part.is_empty() { name.to_owned() } else { format!("{name} ({part})") };
            let workload = Workload { namespace: namespace.clone(), kind: kind.clone(), name };
            let pods = if kind == "DaemonSet" { Pods::OneEachNode } else { Pods::Count(pods) };
            let path = pod_path(object["apiVersion"].as_str().unwrap_or_default(), &kind);
            let misplaced = find_misplaced(object, &pod, path);
            found.push(Template { workload, pods, pod, misplaced });
        }
    }
    found
}

/// The identity of an object in messages: `web Deployment/api`.
pub(crate) fn place(object: &Value, namespace: &str) -> String {
    let object = (object["metadata"]["namespace"].as_str().unwrap_or(namespace), kind(object), name(object));
    match object {
        (_, "Namespace", name) => format!("Namespace/{name}"),
        (namespace, kind, name) => format!("{namespace} {kind}/{name}"),
    }
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or("?")
}

fn name(object: &Value) -> &str {
    let metadata = &object["metadata"];
    ["name", "generateName"].iter().find_map(|key| metadata[key].as_str()).unwrap_or("?")
}

/// The templates of one object: the name of the part, the number of pods, the pod.
fn below(object: &Value) -> Vec<(String, u64, Value)> {
    if object["kind"] == "Pod" {
        let pod = json!({"metadata": object["metadata"], "spec": object["spec"]});
        return vec![(String::new(), 1, pod)];
    }
    let mut found = Vec::new();
    for (key, member) in object.as_object().into_iter().flatten() {
        if ["spec", "template"].contains(&key.as_str()) {
            search(member, key, 1, &mut Vec::new(), &mut found);
        }
    }
    // A built-in kind without a pod template is an error that must be reported.
    let version = object["apiVersion"].as_str().unwrap_or_default();
    if found.is_empty()
        && let Some(path) = pod_path(version, object["kind"].as_str().unwrap_or_default())
    {
        found.push((String::new(), 1, object.pointer(path).cloned().unwrap_or_default()));
    }
    found
}

fn search(
    value: &Value,
    key: &str,
    pods: u64,
    path: &mut Vec<String>,
    found: &mut Vec<(String, u64, Value)>,
) {
    match value {
        Value::Object(members) => {
            if is_template(key, value) {
                let pod = json!({"metadata": value["metadata"], "spec": value["spec"]});
                found.push((path.last().cloned().unwrap_or_default(), pods, pod));
                return;
            }
            let times = MULTIPLIERS.iter().filter_map(|name| value[name].as_u64());
            let pods = times.fold(pods, u64::saturating_mul);
            for (key, member) in members {
                let tells = !SILENT.contains(&key.as_str()) && (member.is_object() || member.is_array());
                if tells {
                    path.push(key.clone());
                }
                search(member, key, pods, path, found);
                if tells {
                    path.pop();
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = ["name", "groupName"].iter().find_map(|key| item[key].as_str()).map(str::to_owned);
                path.push(name.unwrap_or_else(|| index.to_string()));
                search(item, "", pods, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(object: &Value) -> Vec<String> {
        let text = |template: Template| {
            let Workload { namespace, kind, name } = template.workload;
            format!(
                "{namespace} {kind}/{name} {:?} {}",
                template.pods, template.pod["spec"]["containers"][0]["name"]
            )
        };
        templates(std::slice::from_ref(object), "default").into_iter().map(text).collect()
    }

    fn template(name: &str) -> Value {
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": name}]}})
    }

    #[test]
    fn pod_templates_are_found_in_any_kind_with_the_number_of_their_pods() {
        for (kind, spec, expected) in [
            ("Pod", template("a")["spec"].clone(), &["default Pod/x Count(1) \"a\""][..]),
            ("Deployment", json!({"template": template("a")}), &["default Deployment/x Count(1) \"a\""]),
            (
                "Deployment",
                json!({"replicas": 3, "template": template("a")}),
                &["default Deployment/x Count(3) \"a\""],
            ),
            (
                "Deployment",
                json!({"replicas": 0, "template": template("a")}),
                &["default Deployment/x Count(0) \"a\""],
            ),
            ("DaemonSet", json!({"template": template("a")}), &["default DaemonSet/x OneEachNode \"a\""]),
            (
                "CronJob",
                json!({"jobTemplate": {"spec": {"parallelism": 4, "template": template("a")}}}),
                &["default CronJob/x Count(4) \"a\""],
            ),
            (
                "PyTorchJob",
                json!({"pytorchReplicaSpecs": {
                    "Master": {"replicas": 1, "template": template("m")},
                    "Worker": {"replicas": 8, "template": template("w")},
                }}),
                &[
                    "default PyTorchJob/x (Master) Count(1) \"m\"",
                    "default PyTorchJob/x (Worker) Count(8) \"w\"",
                ],
            ),
            (
                "JobSet",
                json!({"replicatedJobs": [{"name": "workers", "replicas": 2, "template": {"spec": {
                    "parallelism": 4, "completions": 4, "template": template("w"),
                }}}]}),
                &["default JobSet/x (workers) Count(8) \"w\""],
            ),
            (
                "Job",
                json!({"tasks": [{"replicas": 2, "name": "ps", "template": template("p")}]}),
                &["default Job/x (ps) Count(2) \"p\""],
            ),
            (
                "RayCluster",
                json!({
                    "headGroupSpec": {"template": template("h")},
                    "workerGroupSpecs": [{"groupName": "gpu", "replicas": 3, "template": template("w")}],
                }),
                &[
                    "default RayCluster/x (headGroupSpec) Count(1) \"h\"",
                    "default RayCluster/x (gpu) Count(3) \"w\"",
                ],
            ),
            (
                "Job",
                json!({"replicas": u64::MAX, "parallelism": 2, "template": template("a")}),
                &["default Job/x Count(18446744073709551615) \"a\""],
            ),
            ("ConfigMap", json!({"template": "text"}), &[]),
            ("Rollout", json!({"template": {"spec": {}}}), &[]),
        ] {
            let object = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
            assert_eq!(found(&object), expected, "{object}");
        }
    }

    #[test]
    fn object_owned_by_another_document_is_not_counted_twice() {
        let owned = |kind: &str, owner: &str| {
            json!({
                "kind": kind, "metadata": {"name": "x-1", "ownerReferences": [{"kind": owner, "name": "x", "controller": true}]},
                "spec": {"template": template("a")},
            })
        };
        let deployment =
            json!({"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": template("a")}});
        let all = [owned("ReplicaSet", "Deployment"), deployment, owned("Job", "CronJob")];
        let kinds: Vec<_> =
            templates(&all, "web").into_iter().map(|template| template.workload.kind).collect();
        assert_eq!(kinds, ["Deployment", "Job"]);
    }

    #[test]
    fn built_in_kind_without_pod_template_is_reported() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {}});
        assert_eq!(templates(&[job], "web")[0].pod, Value::Null);
    }

    #[test]
    fn lists_are_their_items() {
        let list = json!({"kind": "PodList", "items": [{"metadata": {}}, {"kind": "Job"}, "text", 3, null]});
        let documents =
            vec![list, json!({"kind": "Pod"}), json!("text"), json!(42), json!(["a"]), json!(null)];
        let kinds: Vec<_> = objects(documents).into_iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, [json!("Pod"), json!("Job"), json!("Pod")]);
    }
}
