//! The `/etc/resolv.conf` and `/etc/hosts` that the kubelet writes for a pod.
//!
//! The model does not have pods in the node's network, nor the kubelet's limits (three nameservers, 32 search
//! domains). `tests/cluster/models.rs` compares the files with those of a real kubelet.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

/// The DNS settings of the kubelet: `clusterDNS`, `clusterDomain`, and the node's resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNames {
    /// The address of cluster DNS.
    pub dns: IpAddr,
    /// The cluster domain, for example `cluster.local`.
    pub zone: String,
    /// The search domains of the node, which pods with dnsPolicy ClusterFirst inherit.
    pub node_searches: Vec<String>,
}

/// The pod's resolv.conf.
///
/// Follows `GetPodDNS` of the kubelet's pkg/kubelet/network/dns/dns.go, and for the order of the lines
/// `parseDNSOptions` of containerd's CRI. Options keep their order here, while the kubelet takes them from a
/// map. A pod with dnsPolicy Default gets the node's search domains and no nameserver, because the model of a
/// node has no DNS.
pub fn resolv_conf(pod: &Value, namespace: &str, cluster: &ClusterNames) -> String {
    let policy = pod["spec"]["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
    let (mut nameservers, mut searches, mut options) = match policy {
        "None" => (Vec::new(), Vec::new(), Vec::new()),
        "Default" => (Vec::new(), cluster.node_searches.clone(), Vec::new()),
        _ => cluster_first(namespace, cluster),
    };

    let config = &pod["spec"]["dnsConfig"];
    nameservers.extend(texts(&config["nameservers"]));
    searches.extend(texts(&config["searches"]));
    for option in config["options"].as_array().into_iter().flatten() {
        merge_option(&mut options, option);
    }

    write_lines(&without_duplicates(searches), without_duplicates(nameservers), &options)
}

type Parts = (Vec<String>, Vec<String>, Vec<(String, String)>);

fn cluster_first(namespace: &str, cluster: &ClusterNames) -> Parts {
    let zone = &cluster.zone;
    let mut searches = vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.clone()];
    searches.extend(cluster.node_searches.iter().cloned());
    (vec![cluster.dns.to_string()], searches, vec![("ndots".to_owned(), "5".to_owned())])
}

fn merge_option(options: &mut Vec<(String, String)>, option: &Value) {
    let name = option["name"].as_str().unwrap_or_default();
    let value = option["value"].as_str().unwrap_or_default().to_owned();
    match options.iter_mut().find(|(existing, _)| existing == name) {
        Some((_, existing)) => *existing = value,
        None => options.push((name.to_owned(), value)),
    }
}

fn write_lines(searches: &[String], nameservers: Vec<String>, options: &[(String, String)]) -> String {
    let mut file = String::new();
    if !searches.is_empty() {
        file += &format!("search {}\n", searches.join(" "));
    }
    for nameserver in nameservers {
        file += &format!("nameserver {nameserver}\n");
    }
    if !options.is_empty() {
        let write = |(name, value): &(String, String)| match value.as_str() {
            "" => name.clone(),
            value => format!("{name}:{value}"),
        };
        file += &format!("options {}\n", options.iter().map(write).collect::<Vec<_>>().join(" "));
    }
    file
}

/// The pod's `/etc/hosts`: `managedHostsFileContent` of pkg/kubelet/kubelet_pods.go.
pub fn hosts(pod: &Value, namespace: &str, zone: &str, address: Ipv4Addr) -> String {
    let mut file = "# Kubernetes-managed hosts file.\n\
                    127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    fe00::0\tip6-mcastprefix\n\
                    fe00::1\tip6-allnodes\n\
                    fe00::2\tip6-allrouters\n"
        .to_owned();
    let name = hostname(pod);
    // A write to a `String` does not fail.
    let _ = match pod["spec"]["subdomain"].as_str() {
        Some(subdomain) => writeln!(file, "{address}\t{name}.{subdomain}.{namespace}.svc.{zone}\t{name}"),
        None => writeln!(file, "{address}\t{name}"),
    };
    for alias in pod["spec"]["hostAliases"].as_array().into_iter().flatten() {
        let ip = alias["ip"].as_str().unwrap_or_default();
        let _ = writeln!(file, "{ip}\t{}", texts(&alias["hostnames"]).join("\t"));
    }
    file
}

/// The pod's host name: `spec.hostname`, otherwise its name.
pub fn hostname(pod: &Value) -> &str {
    let name = pod["metadata"]["name"].as_str().unwrap_or("pod");
    pod["spec"]["hostname"].as_str().unwrap_or(name)
}

pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn without_duplicates(list: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for item in list {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}
