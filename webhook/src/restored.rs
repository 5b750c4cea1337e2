//! A pod whose proxy was injected elsewhere: restored from a backup into another namespace or cluster, copied with
//! `kubectl get --output yaml`, or injected by `inject` for another place. Pure.
//!
//! Its proxy would complete names below the namespace that it came from and ask a DNS server that may not be there. So the
//! proxy is taken out again, and the pod decided about as if it had never had one.

use podlocal_settings::Settings;
use podlocal_settings::names::{CONTAINER_NAME, STATUS_ANNOTATION};
use podlocal_settings::{table, value};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::decide::Namespace;
use crate::dns;

/// Whether the proxy of a pod with this `spec` was `told` about another place. `has_upstream`: somebody has chosen whom it asks.
///
/// | it was told | another place |
/// |---|---|
/// | the namespace | is not this one |
/// | the cluster domain | is not this one |
/// | the cluster's DNS, where the pod asks the cluster's and nobody has chosen another | none of its addresses is one of this cluster |
///
/// Not where the pod does not ask the proxy any more: who changed that meant it.
pub fn is_from_elsewhere(
    spec: &Value,
    told: &Settings,
    namespace: &Namespace,
    cluster: &Cluster,
    has_upstream: bool,
) -> bool {
    if spec["dnsPolicy"] != "None" || spec["dnsConfig"]["nameservers"][0] != dns::PROXY {
        return false;
    }
    let here = value::namespace(&namespace.name).ok();
    let is_other_namespace = here.is_some() && told.namespace.is_some() && told.namespace != here;
    // Nobody who does not know the cluster's DNS knows the cluster.
    let is_known = !cluster.dns.is_empty();
    let is_other_domain = is_known && told.cluster_domain != cluster.domain;
    let asks_clusters = !has_upstream && searches_cluster(spec, told);
    let is_other_dns =
        is_known && asks_clusters && !told.upstream.iter().any(|server| cluster.dns.contains(server));
    is_other_namespace || is_other_domain || is_other_dns
}

/// The pod as it was before its proxy, which is the init container `at` and was `told` that, as far as that can be known. The
/// sysctl stays: it gives the pod a right that it would get again.
pub fn without_proxy(pod: &Value, at: usize, told: &Settings) -> Value {
    let mut pod = pod.clone();
    if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| key != STATUS_ANNOTATION);
    }
    let is_clusters = searches_cluster(&pod["spec"], told);
    let config = pod["spec"]["dnsConfig"].clone();
    if let Some(containers) = pod.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut) {
        debug_assert_eq!(containers[at]["name"], CONTAINER_NAME);
        containers.remove(at);
    }
    let own = if is_clusters { &told.backup_upstream } else { &told.upstream };
    let nameservers: Vec<_> = own.iter().map(|server| server.ip().to_string()).collect();
    let mut searches = config["searches"].as_array().cloned().unwrap_or_default();
    if is_clusters {
        // Those of the nodes that it came from are not the pod's.
        let is_own = |domain: &Value| {
            domain.as_str().is_some_and(|domain| {
                told.completion_domains
                    .iter()
                    .any(|own| own.eq_ignore_ascii_case(domain.trim_end_matches('.')))
            })
        };
        searches = searches.into_iter().skip(CLUSTERS).filter(is_own).collect();
    }
    let mut options = config["options"].as_array().cloned().unwrap_or_default();
    if told.ndots != told.original_ndots {
        // Ours: the pod's own would be the original.
        options.retain(|option| option["name"] != table::NDOTS.name);
    }
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return pod };
    spec.insert("dnsPolicy".to_owned(), json!(if is_clusters { "ClusterFirst" } else { "None" }));
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

/// How many search domains are the cluster's.
const CLUSTERS: usize = 3;

/// Whether the search list begins as `ClusterFirst` makes it for the namespace that the proxy was told.
fn searches_cluster(spec: &Value, told: &Settings) -> bool {
    let clusters = Settings { search: None, ..told.clone() }.search_list();
    let searches = spec["dnsConfig"]["searches"].as_array().map(Vec::as_slice).unwrap_or_default();
    clusters.len() == CLUSTERS
        && searches.len() >= CLUSTERS
        && clusters.iter().zip(searches).all(|(domain, found)| found == domain.as_str())
}
