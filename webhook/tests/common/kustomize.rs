//! The manifests, rendered as kustomize does it.

#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::Path;

use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

/// The output of `kubectl kustomize manifests/FOLDER`, for the features that our kustomizations use:
/// resources, components, inline JSON patches, and tags of images.
pub(crate) fn render(folder: &str) -> Vec<Value> {
    render_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(folder))
}

fn render_folder(folder: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    add(folder, &mut objects);
    objects
}

/// A kustomization begins with no objects, a component with those of the kustomization that lists it.
fn add(folder: &Path, objects: &mut Vec<Value>) {
    let kustomization = read(&folder.join("kustomization.yaml")).remove(0);
    for key in kustomization.as_object().expect("a map").keys() {
        assert!(
            ["apiVersion", "kind", "resources", "components", "patches", "images", "configMapGenerator"]
                .contains(&key.as_str()),
            "{key} is not known here"
        );
    }
    for resource in kustomization["resources"].as_array().into_iter().flatten() {
        let path = folder.join(resource.as_str().expect("a path"));
        if path.is_dir() {
            objects.extend(render_folder(&path));
        } else {
            objects.extend(read(&path));
        }
    }
    for component in kustomization["components"].as_array().into_iter().flatten() {
        add(&folder.join(component.as_str().expect("a path")), objects);
    }
    for generated in kustomization["configMapGenerator"].as_array().into_iter().flatten() {
        objects.push(config_map(folder, generated));
    }
    for patch in kustomization["patches"].as_array().into_iter().flatten() {
        let target = &patch["target"];
        let text = patch["patch"].as_str().expect("a patch");
        let patch = yaml::read(text).expect("YAML").remove(0);
        if patch["$patch"] == "delete" {
            let label = target["labelSelector"].as_str().expect("a label");
            let (key, value) = label.split_once('=').expect("KEY=VALUE");
            let before = objects.len();
            objects.retain(|object| object["metadata"]["labels"][key] != value);
            assert!(objects.len() < before, "nothing has the label {label}");
            continue;
        }
        let is_target = |object: &Value| {
            object["kind"] == target["kind"]
                && (target["name"].is_null() || object["metadata"]["name"] == target["name"])
        };
        assert_eq!(objects.iter().filter(|object| is_target(object)).count(), 1, "{target}");
        let operations: json_patch::Patch = serde_json::from_value(patch).expect("operations");
        let object = objects.iter_mut().find(|object| is_target(object)).expect("the target");
        json_patch::patch(object, &operations).unwrap_or_else(|error| panic!("{target}: {error}"));
    }
    for image in kustomization["images"].as_array().into_iter().flatten() {
        let name = image["name"].as_str().expect("a name");
        let tagged = format!("{name}:{}", image["newTag"].as_str().expect("a tag"));
        let containers = objects.iter_mut().filter_map(|object| {
            object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut)
        });
        for container in containers.flatten().filter(|container| container["image"] == name) {
            container["image"] = tagged.clone().into();
        }
    }
}

/// A ConfigMap of files, for the features that ours use: a name without hash, and labels.
fn config_map(folder: &Path, generated: &Value) -> Value {
    assert_eq!(generated["options"]["disableNameSuffixHash"], true, "a hash is not made here");
    let files = generated["files"].as_array().expect("files").iter().map(|file| {
        let (key, file) = file.as_str().expect("a text").split_once('=').expect("KEY=FILE");
        let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        (key.to_owned(), Value::String(text))
    });
    let data: serde_json::Map<_, _> = files.collect();
    let labels = &generated["options"]["labels"];
    let metadata = json!({"name": generated["name"], "namespace": generated["namespace"], "labels": labels});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

/// The object of that kind and name.
pub(crate) fn named(objects: &[Value], kind: &str, name: &str) -> Value {
    let is_wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_wanted).unwrap_or_else(|| panic!("there is no {kind} {name}")).clone()
}

/// The one object of that kind.
pub(crate) fn find(objects: &[Value], kind: &str) -> Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("there is no {kind}")).clone();
    assert!(found.next().is_none(), "there are several of {kind}");
    object
}

fn read(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    yaml::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
