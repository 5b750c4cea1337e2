//! `podlocal-webhook inject`: injects YAML documents on disk.
//!
//! Pods are injected directly, workloads in their pod templates, and Lists item by item; so are custom kinds
//! with known pod templates ([`kinds`]). Every other object is printed unchanged, and a document that
//! is not an object is an error. The documents count as opted in unless they are labelled `disabled`; the
//! annotations of a namespace among them are the defaults for its pods.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{Inject, Output};
use crate::documents::files;
use crate::documents::kinds::{self, PodSource, pod_path};
use crate::documents::misplaced_metadata::find_misplaced;
use crate::documents::pod_templates::{self, PodTemplate};
use crate::documents::split::{Document, Text};
use crate::documents::yaml;
use crate::review::cluster_state::Cluster;
use crate::review::mutate::{Policy, mutate};
use crate::review::namespace::Namespace;
use crate::review::outcome::Outcome;
use crate::review::skip::Skip;

/// The output.
#[derive(Debug, Default)]
pub struct Printed {
    /// The documents, for standard output.
    pub documents: String,
    /// The treatment of each document and its reason, for standard error.
    pub remarks: Vec<String>,
}

/// Reads the files and injects their documents. Nothing is printed if one of them cannot be read, so that a
/// pipe to `kubectl apply` applies all or nothing.
///
/// # Errors
/// A line for each file or document that cannot be read.
pub fn run(settings: &Inject) -> Result<Printed, String> {
    let (documents, mut unreadable) = files::read_all(&settings.files);
    let mut remarks = Vec::new();
    let resolv_conf = settings.common.resolv_conf().unwrap_or_else(|why| {
        remarks.push(why);
        String::new()
    });
    let mut injector = Injector {
        cluster: Cluster::new(&settings.common.cluster(), &resolv_conf),
        policy: settings.common.policy(),
        namespace: &settings.namespace,
        annotations: documents.iter().filter_map(|(_, document)| of_namespace(document)).collect(),
        remarks,
    };
    let mut results = Vec::new();
    for (name, document) in documents {
        match injector.inject(&name, document) {
            Ok(result) => results.push(result),
            Err(error) => unreadable.push(error),
        }
    }
    if !unreadable.is_empty() {
        return Err(unreadable.join("\n"));
    }
    let documents = match settings.output {
        Output::Yaml => as_yaml(&results),
        Output::Json => as_json(results),
    };
    Ok(Printed { documents: documents?, remarks: injector.remarks })
}

/// A document after injection, with its original text, if known.
struct Injected {
    value: Value,
    is_changed: bool,
    text: Option<Text>,
}

/// Unchanged documents are printed with their original text. A changed one keeps the order of its keys and
/// the comments before it; comments inside it are lost, because the YAML library does not represent them.
fn as_yaml(results: &[Injected]) -> Result<String, String> {
    let mut texts = Vec::new();
    for Injected { value, is_changed, text } in results {
        let written = match text {
            Some(text) if !is_changed => text.whole.clone(),
            text => {
                let comments = text.as_ref().map_or("", Text::leading_comments);
                let document = yaml::write(value).map_err(|error| error.message)?;
                format!("{comments}{document}")
            }
        };
        texts.push(written);
    }
    Ok(texts.join("---\n"))
}

/// One document as itself, several as the items of a List, as `kubectl get -o json` prints them and
/// `kubectl apply` accepts them.
fn as_json(results: Vec<Injected>) -> Result<String, String> {
    let mut documents: Vec<_> = results.into_iter().map(|result| result.value).collect();
    let document = match documents.len() {
        0 => return Ok(String::new()),
        1 => documents.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": documents}),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// Injects documents; the state that they share.
struct Injector<'a> {
    cluster: Cluster,
    policy: Policy,
    namespace: &'a str,
    /// The annotations of the namespaces among the documents.
    annotations: BTreeMap<String, Map<String, Value>>,
    remarks: Vec<String>,
}

impl Injector<'_> {
    fn inject(&mut self, file: &str, document: Document) -> Result<Injected, String> {
        let mut value = document.value.clone();
        let injected = self.object(&mut value, &format!("{file}: document {}", document.number));
        injected.map_err(|error| format!("{file}: {}: {error}", document.place()))?;
        Ok(Injected { is_changed: value != document.value, value, text: document.text })
    }

    /// Injects one object in place, or the items of a List.
    fn object(&mut self, object: &mut Value, place: &str) -> Result<(), String> {
        let version = object["apiVersion"].clone();
        if let Some(kind) =
            object["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).map(str::to_owned)
            && let Some(items) = object.get_mut("items").and_then(Value::as_array_mut)
        {
            for (index, item) in items.iter_mut().enumerate() {
                // The items of a list of one kind need not repeat it.
                let is_named = !item["kind"].is_null();
                let (version, kind) = if is_named {
                    (item["apiVersion"].clone(), item["kind"].clone())
                } else {
                    (version.clone(), json!(kind))
                };
                self.pod_of(item, &version, &kind, &format!("{place}, item {}", index + 1))?;
            }
            return Ok(());
        }
        let kind = object["kind"].clone();
        self.pod_of(object, &version, &kind, place)
    }

    fn pod_of(
        &mut self,
        object: &mut Value,
        version: &Value,
        kind: &Value,
        place: &str,
    ) -> Result<(), String> {
        let (Some(version), Some(kind)) = (version.as_str(), kind.as_str()) else {
            return Ok(());
        };
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(self.namespace).to_owned();
        let name = ["name", "generateName"].iter().find_map(|key| metadata[key].as_str()).unwrap_or("?");
        let place = format!("{place}: {kind} {namespace}/{name}");
        if let Some(path) = pod_path(version, kind) {
            return self.template(object, path, &namespace, &place);
        }
        let why = match kinds::pod_source(version, kind) {
            Some(PodSource::Templates) => {
                let templates = pod_templates::find(object);
                if templates.is_empty() {
                    let skipped = done(Outcome::Skipped(Skip::NoContainers));
                    self.remarks.push(format!("{place}: {skipped}"));
                }
                return templates.iter().try_for_each(|PodTemplate { pointer, .. }| {
                    self.template(object, pointer, &namespace, &format!("{place}, {}", &pointer[1..]))
                });
            }
            Some(PodSource::NoTemplate(why)) => why,
            None if kinds::has_containers(object) => "the place of the pod template in this kind is unknown",
            None => return Ok(()),
        };
        self.remarks
            .push(format!("{place}: not injected by this command: {why}; the webhook injects its pods"));
        Ok(())
    }

    /// Injects the pod template at `path`.
    fn template(
        &mut self,
        object: &mut Value,
        path: &str,
        namespace: &str,
        place: &str,
    ) -> Result<(), String> {
        let Some(pod) = object.pointer_mut(path).filter(|pod| pod.is_object()) else {
            return Err(format!("no pod template at {path}"));
        };
        let before = pod.clone();
        let annotations = self.annotations.get(namespace).cloned().unwrap_or_default();
        let namespace = Namespace { name: namespace.to_owned(), annotations };
        let mutation =
            mutate(pod, &namespace, &self.cluster, &self.policy).map_err(|error| error.to_string())?;
        self.remarks.push(format!("{place}: {}", done(mutation.outcome)));
        self.remarks.extend(mutation.nested_runtime_warning().map(|note| format!("{place}: {note}")));
        *pod = mutation.pod;
        let ignored = mutation.ignored.into_iter().chain(find_misplaced(object, &before, Some(path)));
        self.remarks.extend(ignored.map(|error| format!("{place}: ignored {error}")));
        Ok(())
    }
}

/// The name and the annotations of a Namespace document.
fn of_namespace(document: &Document) -> Option<(String, Map<String, Value>)> {
    let object = &document.value;
    if object["apiVersion"] != "v1" || object["kind"] != "Namespace" {
        return None;
    }
    let annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    Some((object["metadata"]["name"].as_str()?.to_owned(), annotations))
}

fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Injected => "injected".to_owned(),
        Outcome::Moved => "the sidecar was moved before the other init containers".to_owned(),
        Outcome::Restored => "the sidecar came from another namespace or cluster and was replaced".to_owned(),
        Outcome::Corrected => "the sidecar got the changed search list or ndots".to_owned(),
        Outcome::Skipped(Skip::ClusterDnsUnknown) => format!(
            "not injected: {} ({}); set --cluster-dns ADDRESS: `kubectl -n kube-system get service kube-dns` shows it",
            Skip::ClusterDnsUnknown.sentence(),
            Skip::ClusterDnsUnknown.label()
        ),
        Outcome::Skipped(skip) => format!("not injected: {} ({})", skip.sentence(), skip.label()),
    }
}
