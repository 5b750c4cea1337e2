//! A pod whose sidecar was injected for another namespace or cluster: restored from a backup, copied with
//! `kubectl get --output yaml`, or injected by the command `inject`. Pure.
//!
//! Such a sidecar would expand names below its original namespace and query a DNS server that may not exist.
//! So the sidecar is removed, and the decision is made for the pod without it.

use podlocal_settings::Settings;
use podlocal_settings::names::{CONTAINER_NAME, STATUS_ANNOTATION};
use podlocal_settings::{table, value};
use serde_json::{Value, json};

use super::cluster_state::Cluster;
use super::dns;
use super::namespace::Namespace;

/// Whether the settings of the sidecar in `spec`, `sidecar`, are for another namespace or cluster.
/// `has_upstream`: the upstream is set explicitly.
///
/// | setting of the sidecar | it is for another place if |
/// |---|---|
/// | the namespace | it is not this one |
/// | the cluster domain | it is not this one |
/// | the upstream, if it is cluster DNS and not set explicitly | none of its addresses is an address of cluster DNS |
///
/// It does not apply if the pod no longer uses the sidecar: that change was intended.
pub(crate) fn is_from_elsewhere(
    spec: &Value,
    sidecar: &Settings,
    namespace: &Namespace,
    cluster: &Cluster,
    has_upstream: bool,
) -> bool {
    if spec["dnsPolicy"] != "None" || spec["dnsConfig"]["nameservers"][0] != dns::PROXY {
        return false;
    }
    let here = value::namespace(&namespace.name).ok();
    let is_other_namespace = here.is_some() && sidecar.namespace.is_some() && sidecar.namespace != here;
    // Without the address of cluster DNS, the cluster domain is unknown, too.
    let is_known = !cluster.dns.is_empty();
    let is_other_domain = is_known && sidecar.cluster_domain != cluster.domain;
    let uses_cluster_dns = !has_upstream && has_cluster_search_list(spec, sidecar);
    let is_other_dns =
        is_known && uses_cluster_dns && !sidecar.upstream.iter().any(|server| cluster.dns.contains(server));
    is_other_namespace || is_other_domain || is_other_dns
}

/// The pod without its sidecar, the init container `at` with the settings `sidecar`, as far as the original
/// can be restored. The sysctl stays: the pod would get it again.
pub(crate) fn without_sidecar(pod: &Value, at: usize, sidecar: &Settings) -> Value {
    let mut pod = pod.clone();
    if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| key != STATUS_ANNOTATION);
    }
    let is_cluster_first = has_cluster_search_list(&pod["spec"], sidecar);
    let config = pod["spec"]["dnsConfig"].clone();
    if let Some(containers) = pod.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut) {
        debug_assert_eq!(containers[at]["name"], CONTAINER_NAME);
        containers.remove(at);
    }
    let own = if is_cluster_first { &sidecar.backup_upstream } else { &sidecar.upstream };
    let nameservers: Vec<_> = own.iter().map(|server| server.ip().to_string()).collect();
    let mut searches = config["searches"].as_array().cloned().unwrap_or_default();
    if is_cluster_first {
        // The search domains of the original nodes do not belong to the pod.
        let is_own = |domain: &Value| {
            domain.as_str().is_some_and(|domain| {
                sidecar
                    .completion_domains
                    .iter()
                    .any(|own| own.eq_ignore_ascii_case(domain.trim_end_matches('.')))
            })
        };
        searches = searches.into_iter().skip(CLUSTER_SEARCH_DOMAINS).filter(is_own).collect();
    }
    let mut options = config["options"].as_array().cloned().unwrap_or_default();
    if sidecar.ndots != sidecar.original_ndots {
        // This option comes from the webhook: one of the pod itself would be the original value.
        options.retain(|option| option["name"] != table::NDOTS.name);
    }
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return pod };
    spec.insert("dnsPolicy".to_owned(), json!(if is_cluster_first { "ClusterFirst" } else { "None" }));
    let mut config = config;
    if let Some(config) = config.as_object_mut() {
        for (key, list) in
            [("nameservers", json!(nameservers)), ("searches", json!(searches)), ("options", json!(options))]
        {
            config.insert(key.to_owned(), list);
        }
        config.retain(|_, list| *list != json!([]));
    }
    spec.insert("dnsConfig".to_owned(), config);
    pod
}

/// The number of search domains of the cluster.
const CLUSTER_SEARCH_DOMAINS: usize = 3;

/// Whether the search list begins with the domains of `ClusterFirst` for the namespace in the settings of the
/// sidecar.
fn has_cluster_search_list(spec: &Value, sidecar: &Settings) -> bool {
    let clusters = Settings { search: None, ..sidecar.clone() }.search_list();
    let searches = spec["dnsConfig"]["searches"].as_array().map(Vec::as_slice).unwrap_or_default();
    clusters.len() == CLUSTER_SEARCH_DOMAINS
        && searches.len() >= CLUSTER_SEARCH_DOMAINS
        && clusters.iter().zip(searches).all(|(domain, found)| found == domain.as_str())
}
