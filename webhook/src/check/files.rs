//! `check -f`: checks documents.

use std::collections::BTreeMap;

use serde_json::Value;

use super::assess::{ASSUMED_DNS, Context, NamespaceMetadata};
use super::ledger::Ledger;
use super::report::{Error, Report, Source};
use super::selectors::{self, Selectors};
use super::templates;
use crate::config::Check;
use crate::documents::files;
use crate::documents::kinds::{self, PodSource};
use crate::review::cluster_state::Cluster;
use crate::review::dns;
use crate::review::limits::Limits;

/// Reads and checks the documents.
pub(crate) fn run(settings: &Check) -> Result<Report, Error> {
    let (documents, unreadable) = files::read_all(&settings.files);
    if !unreadable.is_empty() {
        let next = "correct or leave out the files and documents above, then run the command again";
        return Err(Error { what: unreadable.join("\n"), next: next.to_owned() });
    }
    let number = documents.len();
    let objects = templates::objects(documents.into_iter().map(|(_, document)| document.value));
    let mut notes = Vec::new();
    let resolv_conf = settings.common.resolv_conf().unwrap_or_else(|why| {
        notes.push(why);
        String::new()
    });
    let mut cluster = Cluster::new(&settings.common.cluster(), &resolv_conf);
    if cluster.dns.is_empty() {
        cluster.dns.push(ASSUMED_DNS);
        notes.push(format!(
            "the address of cluster DNS is unknown, assuming {}; set it with --cluster-dns",
            ASSUMED_DNS.ip()
        ));
    }
    // An object without a namespace belongs to the default namespace.
    let namespace = settings.namespace.as_deref().unwrap_or("default");
    let ranges = objects.iter().filter(|object| object["kind"] == "LimitRange").cloned().map(|mut range| {
        if range["metadata"].is_object() && range["metadata"]["namespace"].is_null() {
            range["metadata"]["namespace"] = namespace.into();
        }
        range
    });
    cluster.limits = Limits::of(&ranges.collect::<Vec<_>>());
    let context = Context {
        cluster,
        policy: settings.common.policy(),
        selectors: Selectors::installed(),
        as_if_enabled: settings.as_if_enabled,
        with_diff: settings.verbose,
    };

    let refused = objects.iter().flat_map(|object| {
        let place = templates::place(object, namespace);
        templates::invalid_fields(object).into_iter().map(move |error| (place.clone(), error))
    });
    let refused: Vec<_> = refused.collect();
    let namespaces_metadata: BTreeMap<_, _> = objects.iter().filter_map(namespace_metadata).collect();
    let mut unknown = Vec::new();
    let mut ledger = Ledger::default();
    for found in templates::templates(&objects, namespace) {
        let namespace = &found.workload.namespace;
        let namespace_metadata = namespaces_metadata.get(namespace).cloned().unwrap_or_default();
        if namespace_metadata.labels.is_none() && !settings.as_if_enabled && !unknown.contains(namespace) {
            unknown.push(namespace.clone());
        }
        let row = ledger.add(found.workload, found.pods, &found.pod, &namespace_metadata, &context);
        let known = &mut row.assessment.errors;
        let new = found.misplaced.into_iter().filter(|error| !known.contains(error));
        known.extend(new.collect::<Vec<_>>());
    }
    for object in &objects {
        let [version, kind] = ["apiVersion", "kind"].map(|key| object[key].as_str().unwrap_or_default());
        if let Some(PodSource::NoTemplate(why)) = kinds::pod_source(version, kind) {
            let place = templates::place(object, namespace);
            notes.push(format!(
                "{place}: {why}; the webhook injects the pods that its operator creates, the command inject does not"
            ));
        }
    }
    if !unknown.is_empty() {
        notes.push(format!(
            "no document shows whether these namespaces are opted in, assuming that they are: {}",
            unknown.join(", ")
        ));
    }
    let has_tier = !context.cluster.tier_for_new_pods().is_empty();
    Ok(Report {
        source: Source::Documents {
            number,
            files: settings.files.iter().map(|file| files::name(file)).collect(),
        },
        installation: Vec::new(),
        notes,
        cluster_dns: dns::addresses(&context.cluster.dns),
        cluster_domain: context.cluster.domain,
        refused,
        namespaces_metadata,
        ledger,
        is_whole: true,
        has_tier,
        as_if_enabled: settings.as_if_enabled,
    })
}

/// The name of a Namespace document, with its labels and annotations.
fn namespace_metadata(object: &Value) -> Option<(String, NamespaceMetadata)> {
    if object["kind"] != "Namespace" {
        return None;
    }
    let metadata = &object["metadata"];
    let annotations = metadata["annotations"].as_object().cloned().unwrap_or_default();
    let namespace_metadata = NamespaceMetadata { labels: Some(selectors::labels(metadata)), annotations };
    Some((metadata["name"].as_str()?.to_owned(), namespace_metadata))
}
