//! The `resolv.conf` of an injected pod, and the upstream servers of its sidecar. Pure.
//!
//! dnsPolicy `ClusterFirst` puts cluster DNS first regardless of the pod's dnsConfig. So an injected pod has
//! dnsPolicy `None`, and its dnsConfig contains everything that the kubelet would have added
//! (`kubernetes/pkg/kubelet/network/dns/dns.go`, `GetPodDNS` and `appendDNSConfig`).

use std::net::SocketAddr;
use std::time::Duration;

use podlocal_settings::read::{Read, SettingError};
use podlocal_settings::{table, value};
use serde_json::{Value, json};

use super::cluster_state::Cluster;
use super::skip::Skip;

mod options;
mod servers;

use servers::Servers;

/// The nameserver of an injected pod: its own sidecar.
pub(crate) const PROXY: &str = "127.0.0.1";

/// The maximum number of nameservers in the API server (`MaxDNSNameservers` in
/// `kubernetes/pkg/apis/core/validation`).
const MOST_NAMESERVERS: usize = 3;

/// The maximum number of search domains in the API server (`MaxDNSSearchPaths`).
const MOST_SEARCHES: usize = 32;

/// The maximum length of the search domains with spaces between them, in characters
/// (`MaxDNSSearchListChars`).
const MOST_SEARCH_CHARACTERS: usize = 2048;

/// The DNS servers that the pod uses without the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// dnsPolicy `ClusterFirst`: cluster DNS, with the additions of the pod's dnsConfig.
    Cluster,
    /// dnsPolicy `None`: only the pod's dnsConfig.
    Own,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dns {
    /// The upstream servers of the sidecar, in order of preference.
    pub(crate) upstream: Vec<SocketAddr>,
    /// The backup servers, which the sidecar queries while the upstream does not answer; they may know other
    /// names.
    pub(crate) backup_upstream: Vec<SocketAddr>,
    /// The shared tier, which the sidecar queries first; empty if it uses none.
    pub(crate) shared_tier: Vec<SocketAddr>,
    /// The pod's whole new `dnsConfig`.
    pub(crate) config: Value,
    /// The search expansion that follows from it.
    pub(crate) expansion: Expansion,
    /// The `ndots` that would apply in the pod without the sidecar.
    pub(crate) original_ndots: u8,
    /// The search domains of the pod's own dnsConfig that are valid for the sidecar.
    pub(crate) own_search: Vec<String>,
    /// How long the lookup of a name of `wait-for-names` is held, where the pod's own time-out is shorter
    /// than what is set.
    pub(crate) wait_timeout: Option<Duration>,
    /// The errors in settings that cannot be applied.
    pub(crate) errors: Vec<SettingError>,
}

/// The search expansion in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// The search domains that are valid for the sidecar. The API server accepts some invalid domains, such
    /// as `.` or a label of 64 letters. The pod keeps them; the sidecar would not start with them, and no
    /// name exists below them.
    pub search: Vec<String>,
    /// `ndots`, as a resolver interprets it.
    pub ndots: u8,
}

/// The DNS configuration for a pod of `namespace` with this `dnsConfig` (or `null`), or why it cannot get one.
pub(crate) fn configure(
    base: Base,
    own: &Value,
    namespace: &str,
    cluster: &Cluster,
    read: &Read,
) -> Result<Dns, Skip> {
    let own_nameservers = strings(&own["nameservers"]);
    if own_nameservers.len() > MOST_NAMESERVERS {
        return Err(Skip::TooManyNameservers);
    }
    let mut errors = Vec::new();
    let Servers { upstream, backup_upstream, shared_tier } =
        servers::servers(base, &own_nameservers, cluster, &read.settings)?;

    let mut nameservers = vec![PROXY.to_owned()];
    if read.settings.fallback_nameserver {
        let fallback = if base == Base::Cluster { &cluster.dns } else { &upstream };
        match fallback.iter().find(|server| server.port() == 53) {
            Some(server) => nameservers.push(server.ip().to_string()),
            // resolv.conf(5) has no syntax for a port.
            None => errors.push(SettingError::new(
                format!("annotation {}", table::FALLBACK_NAMESERVER.annotation()),
                "true",
                "a DNS server on port 53",
            )),
        }
    }

    let searches = search_domains(base, own, namespace, cluster);
    if searches.len() > MOST_SEARCHES {
        return Err(Skip::TooManySearchDomains);
    }
    if searches.join(" ").len() > MOST_SEARCH_CHARACTERS {
        return Err(Skip::SearchListTooLong);
    }

    // Based on the pod's own, which may have unknown fields.
    let mut config = if own.is_object() { own.clone() } else { json!({}) };
    config["nameservers"] = json!(nameservers);
    if !searches.is_empty() {
        config["searches"] = json!(searches);
    }
    let options = options::of_pod(base, &own["options"], read);
    if !options.is_empty() {
        config["options"] = Value::Array(options);
    }
    let original_ndots = expansion_without_sidecar(base, own, namespace, cluster).ndots;
    let wait_timeout = wait_timeout(&config, read, &mut errors);
    let own_search = expansion(own).search;
    let expansion = expansion(&config);
    Ok(Dns {
        upstream,
        backup_upstream,
        shared_tier,
        config,
        expansion,
        original_ndots,
        own_search,
        wait_timeout,
        errors,
    })
}

/// The bound that the pod's `timeout` sets to `wait-timeout`, where there are names of `wait-for-names` and
/// more is set. If the user has chosen more, that is an error: the client would take the absence for a
/// time-out.
fn wait_timeout(config: &Value, read: &Read, errors: &mut Vec<SettingError>) -> Option<Duration> {
    let options = config["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    let longest = options::longest_wait(options)?;
    if read.settings.wait_for_names.is_empty() || read.settings.wait_timeout <= longest {
        return None;
    }
    let chosen = read.accepted.iter().find(|(setting, _)| *setting == &table::WAIT_TIMEOUT);
    errors.extend(chosen.map(|(setting, text)| {
        let expected =
            format!("at most {} ms, because of the timeout in the pod's dnsConfig", longest.as_millis());
        SettingError::new(format!("annotation {}", setting.annotation()), text, expected)
    }));
    Some(longest)
}

/// The search expansion in a pod of `namespace` with this `dnsConfig` (or `null`) without the sidecar. The
/// kubelet puts `ndots:5` before the pod's own options (`defaultDNSOptions` in
/// `kubernetes/pkg/kubelet/network/dns/dns.go`).
pub(crate) fn expansion_without_sidecar(
    base: Base,
    own: &Value,
    namespace: &str,
    cluster: &Cluster,
) -> Expansion {
    let mut options = Vec::new();
    if base == Base::Cluster {
        options.push(json!({"name": table::NDOTS.name, "value": "5"}));
    }
    options.extend(own["options"].as_array().into_iter().flatten().cloned());
    expansion(&json!({"searches": search_domains(base, own, namespace, cluster), "options": options}))
}

/// The search domains: those of `ClusterFirst`, then those of the node, then the pod's own.
fn search_domains(base: Base, own: &Value, namespace: &str, cluster: &Cluster) -> Vec<String> {
    let mut searches = Vec::new();
    if base == Base::Cluster {
        let zone = &cluster.domain;
        searches.extend([format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.to_string()]);
        searches.extend(cluster.node_search().cloned());
    }
    searches.extend(strings(&own["searches"]).into_iter().map(ToOwned::to_owned));
    without_duplicates(searches)
}

/// The search expansion in a pod with this `dnsConfig`.
pub(crate) fn expansion(config: &Value) -> Expansion {
    let searches = strings(&config["searches"]);
    let search = searches.into_iter().filter_map(|domain| value::search_domain(domain).ok()).collect();
    let options = config["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    Expansion { search: without_duplicates(search), ndots: options::ndots(options) }
}

/// Formats addresses as the sidecar's settings expect them: without the port if it is 53.
pub(crate) fn addresses(servers: &[SocketAddr]) -> String {
    let text = |server: &SocketAddr| match server.port() {
        53 => server.ip().to_string(),
        _ => server.to_string(),
    };
    servers.iter().map(text).collect::<Vec<_>>().join(",")
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn without_duplicates<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut unique = Vec::with_capacity(items.len());
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

#[cfg(test)]
mod tests;
