//! The `/etc/resolv.conf` and `/etc/hosts` that the kubelet writes for a pod.
//!
//! The model does not have pods in the node's network, subdomains in hosts, host aliases, nor the kubelet's
//! limits (three nameservers, 32 search domains). `tests/cluster/models.rs` compares the files with those of a
//! real kubelet.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

/// The DNS settings of the kubelet: `clusterDNS`, `clusterDomain`, and the node's resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNames {
    /// The address of cluster DNS.
    pub dns: IpAddr,
    /// The cluster domain, for example `cluster.local`.
    pub zone: String,
    /// The search domains of the node.
    pub node_searches: Vec<String>,
}

/// The pod's resolv.conf.
///
/// Follows `GetPodDNS` of the kubelet's pkg/kubelet/network/dns/dns.go, and for the order of the lines
/// `parseDNSOptions` of containerd's CRI. A pod with dnsPolicy Default gets no nameserver, because the model of
/// a node has no DNS.
pub(super) fn resolv_conf(pod: &Value, namespace: &str, cluster: &ClusterNames) -> String {
    let (mut nameservers, mut searches, mut options) = (Vec::new(), Vec::new(), BTreeMap::new());
    let policy = pod["spec"]["dnsPolicy"].as_str();
    if !matches!(policy, Some("None" | "Default")) {
        let zone = &cluster.zone;
        nameservers.push(cluster.dns.to_string());
        searches.extend([format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.clone()]);
        options.insert("ndots", "5");
    }
    if policy != Some("None") {
        searches.extend(cluster.node_searches.iter().cloned());
    }

    let config = &pod["spec"]["dnsConfig"];
    nameservers.extend(texts(&config["nameservers"]));
    searches.extend(texts(&config["searches"]));
    for option in config["options"].as_array().into_iter().flatten() {
        let [name, value] = ["name", "value"].map(|field| option[field].as_str().unwrap_or_default());
        options.insert(name, value);
    }

    let mut file = String::new();
    if !searches.is_empty() {
        file += &format!("search {}\n", searches.join(" "));
    }
    for nameserver in nameservers {
        file += &format!("nameserver {nameserver}\n");
    }
    if !options.is_empty() {
        let option = |(name, value): (&str, &str)| match value {
            "" => format!(" {name}"),
            value => format!(" {name}:{value}"),
        };
        file += &format!("options{}\n", options.into_iter().map(option).collect::<String>());
    }
    file
}

/// The pod's `/etc/hosts`: `managedHostsFileContent` of pkg/kubelet/kubelet_pods.go.
pub(super) fn hosts(pod: &Value, address: Ipv4Addr) -> String {
    let name = hostname(pod);
    format!(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n\
         {address}\t{name}\n"
    )
}

/// The pod's host name: `spec.hostname`, otherwise its name.
pub(super) fn hostname(pod: &Value) -> &str {
    let name = pod["metadata"]["name"].as_str().unwrap_or("pod");
    pod["spec"]["hostname"].as_str().unwrap_or(name)
}

pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
