//! Finds the pods that would be created from documents, in every kind with pod templates. Pure.

use std::collections::{BTreeSet, HashSet};

use podlocal_settings::read::SettingError;
use serde_json::{Value, json};

use super::invalid_fields::{of_metadata, of_numbers};
use super::workload::{Pods, Workload};
use crate::documents::kinds::pod_path;
use crate::documents::misplaced_metadata::find_misplaced;
use crate::documents::pod_templates::{self, PodTemplate};

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

/// The objects in the documents: the documents themselves, or the items of Lists. An item of a typed list may
/// omit its kind. Values that are not objects are left out.
pub(crate) fn objects(documents: impl Iterator<Item = Value>) -> Vec<Value> {
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

/// All invalid fields in the metadata of the object and of its pod templates, and in the numbers of their
/// pods: without a template below them, `replicas` and `parallelism` may mean anything.
pub(crate) fn invalid_fields(object: &Value) -> Vec<SettingError> {
    let mut errors = Vec::new();
    of_metadata(&object["metadata"], "metadata", &mut errors);
    let templates = pod_templates::find(object);
    let mut above = BTreeSet::new();
    for PodTemplate { pointer, .. } in &templates {
        let template = object.pointer(pointer).unwrap_or(&Value::Null);
        of_metadata(&template["metadata"], &format!("{}.metadata", shown(pointer)), &mut errors);
        above.extend(pointer.match_indices('/').skip(1).map(|(end, _)| &pointer[..end]));
    }
    for pointer in above {
        of_numbers(object.pointer(pointer).unwrap_or(&Value::Null), &shown(pointer), &mut errors);
    }
    errors
}

/// A JSON pointer as users write it: `spec.tasks[0].template`.
fn shown(pointer: &str) -> String {
    let mut shown = String::new();
    for token in pointer.split('/').skip(1) {
        match token.parse::<usize>() {
            Ok(index) => shown.push_str(&format!("[{index}]")),
            Err(_) => shown.push_str(&format!(".{}", token.replace("~1", "/").replace("~0", "~"))),
        }
    }
    shown.split_off(1)
}

/// The templates of one object: the name of the part, the number of pods, the pod.
fn below(object: &Value) -> Vec<(String, u64, Value)> {
    let at = |pointer: &str| object.pointer(pointer).unwrap_or(&Value::Null);
    if object["kind"] == "Pod" {
        return vec![(String::new(), 1, pod(object))];
    }
    let found = pod_templates::find(object).into_iter();
    let mut found: Vec<_> =
        found.map(|template| (template.part, template.pods, pod(at(&template.pointer)))).collect();
    // A built-in kind without a pod template is an error that must be reported.
    let version = object["apiVersion"].as_str().unwrap_or_default();
    if found.is_empty()
        && let Some(path) = pod_path(version, object["kind"].as_str().unwrap_or_default())
    {
        found.push((String::new(), 1, at(path).clone()));
    }
    found
}

fn pod(template: &Value) -> Value {
    json!({"metadata": template["metadata"], "spec": template["spec"]})
}
