//! `podlocal-webhook inject`: the same work for YAML documents on disk.
//!
//! Pods are injected as they are, workloads in their pod template, Lists item by item; every other document is
//! printed with the same meaning. The documents given count as opted in unless they say `disabled`.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::config::Inject;
use crate::decide::Namespace;
use crate::mutate::{Outcome, Policy, mutate};
use crate::yaml;

/// What is printed.
#[derive(Debug, Default)]
pub struct Printed {
    /// The documents, for standard output.
    pub documents: String,
    /// What was done with each and why, for standard error.
    pub remarks: Vec<String>,
}

/// Every file or document that cannot be read, a line each.
#[derive(Debug, thiserror::Error)]
pub struct Unreadable(Vec<String>);

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

/// Reads the files and injects what is in them. Nothing is printed when one of them cannot be read, so that a
/// pipe to `kubectl apply` applies all or nothing.
pub fn run(settings: &Inject) -> Result<Printed, Unreadable> {
    // A file that is not there says nothing; the flags may say it all.
    let resolv_conf = std::fs::read_to_string(&settings.common.resolv_conf).unwrap_or_default();
    let cluster = Cluster::new(&settings.common.cluster, &resolv_conf);
    let policy = Policy { image: settings.common.image.clone(), defaults: settings.common.defaults.clone() };
    let injector = Injector { cluster: &cluster, policy: &policy, namespace: &settings.namespace };

    let mut printed = Printed::default();
    let mut unreadable = Vec::new();
    for file in &settings.files {
        let name =
            if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() };
        match read(file)
            .map_err(|error| error.to_string())
            .and_then(|text| injector.file(&name, &text, &mut printed))
        {
            Ok(()) => {}
            Err(error) => unreadable.push(format!("{name}: {error}")),
        }
    }
    if unreadable.is_empty() { Ok(printed) } else { Err(Unreadable(unreadable)) }
}

/// What is the same for all documents.
struct Injector<'a> {
    cluster: &'a Cluster,
    policy: &'a Policy,
    namespace: &'a str,
}

impl Injector<'_> {
    fn file(&self, name: &str, text: &str, printed: &mut Printed) -> Result<(), String> {
        let documents = yaml::read(text).map_err(|error| error.to_string())?;
        for (index, mut document) in documents.into_iter().enumerate() {
            let number = format!("document {}", index + 1);
            let unreadable = |error: &dyn fmt::Display| format!("{number}: {error}");
            self.document(&mut document, &format!("{name}: {number}"), &mut printed.remarks)
                .map_err(|error| unreadable(&error))?;
            if !printed.documents.is_empty() {
                printed.documents.push_str("---\n");
            }
            printed.documents.push_str(&yaml::write(&document).map_err(|error| unreadable(&error.message))?);
        }
        Ok(())
    }

    /// Injects one document in place, or the items of a List.
    fn document(&self, document: &mut Value, place: &str, remarks: &mut Vec<String>) -> Result<(), String> {
        if document["kind"] == "List"
            && let Some(items) = document.get_mut("items").and_then(Value::as_array_mut)
        {
            for (index, item) in items.iter_mut().enumerate() {
                self.document(item, &format!("{place}, item {}", index + 1), remarks)?;
            }
            return Ok(());
        }
        let Some(path) = pod_path(document) else {
            return Ok(());
        };
        let metadata = &document["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(self.namespace).to_owned();
        let name = ["name", "generateName"].iter().find_map(|key| metadata[key].as_str()).unwrap_or("?");
        let place = format!("{place}: {} {namespace}/{name}", document["kind"].as_str().unwrap_or_default());
        let Some(pod) = document.pointer_mut(path) else {
            return Err(format!("there is no pod at {path}"));
        };
        let mutation = mutate(
            pod,
            &Namespace { name: namespace.clone(), ..Namespace::default() },
            self.cluster,
            self.policy,
        )
        .map_err(|error| error.to_string())?;
        *pod = mutation.pod;
        remarks.push(format!("{place}: {}", done(mutation.outcome)));
        remarks.extend(mutation.ignored.iter().map(|mistake| format!("{place}: ignored {mistake}")));
        Ok(())
    }
}

fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Injected => "injected".to_owned(),
        Outcome::Moved => "the proxy was moved before the other init containers".to_owned(),
        Outcome::Skipped(skip) => format!("not injected: {} ({})", skip.sentence(), skip.label()),
    }
}

/// Where a document of Kubernetes' own kinds holds a pod; `None` for every other.
fn pod_path(document: &Value) -> Option<&'static str> {
    let group = document["apiVersion"].as_str()?.split_once('/').map_or("", |(group, _)| group);
    match (group, document["kind"].as_str()?) {
        ("", "Pod") => Some(""),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            Some("/spec/template")
        }
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if !is_standard_input(file) {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn is_standard_input(file: &Path) -> bool {
    file == "-"
}
