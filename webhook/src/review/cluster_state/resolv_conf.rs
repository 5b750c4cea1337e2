//! Reads cluster settings from a pod's own `/etc/resolv.conf`. Pure.

use podlocal_settings::value::DomainName;
use std::net::{IpAddr, SocketAddr};

use podlocal_dns::resolv_conf::ResolvConf;
use podlocal_settings::value;

/// The content of a `resolv.conf` that the kubelet wrote for `ClusterFirst`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterFirst {
    /// The servers of cluster DNS.
    pub(crate) nameservers: Vec<SocketAddr>,
    /// The cluster domain.
    pub(crate) domain: DomainName,
    /// The search domains of the node, after those of the cluster. [`super::Cluster::node_search`]
    /// returns those that a dnsConfig may contain.
    pub(crate) node_search: Vec<String>,
}

/// Parses a `resolv.conf`; `None` if it does not belong to a pod with dnsPolicy `ClusterFirst`.
///
/// Such a file is recognised by its search list, `<namespace>.svc.<domain> svc.<domain> <domain>`
/// (`kubernetes/pkg/kubelet/network/dns/dns.go`, `generateSearchesForDNSClusterFirst`). Any other file, a
/// developer's machine or a pod with `hostNetwork`, names a DNS server that knows no Services.
pub(super) fn cluster_first(text: &str) -> Option<ClusterFirst> {
    let ResolvConf { nameservers, search, .. } = ResolvConf::parse(text);
    let nameservers: Vec<_> = nameservers.into_iter().filter_map(nameserver).collect();
    let search: Vec<_> = search.iter().map(|domain| domain.trim_end_matches('.')).collect();
    let domain = DomainName::parse(search.get(2)?).ok()?;
    let service_domain = format!("svc.{domain}");
    let is_cluster_first = search[1] == service_domain
        && search[0].strip_suffix(&service_domain).is_some_and(|namespace| namespace.ends_with('.'));
    if !is_cluster_first || nameservers.is_empty() {
        return None;
    }
    let node_search = search[3..].iter().filter_map(|name| value::search_domain(name).ok()).collect();
    Some(ClusterFirst { nameservers, domain, node_search })
}

/// A server that another pod can query, too: not a loopback address.
fn nameserver(address: IpAddr) -> Option<SocketAddr> {
    (!address.is_loopback() && !address.is_unspecified()).then(|| SocketAddr::new(address, 53))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_first_file_yields_servers_domain_and_node_search() {
        let text = "search podlocal-dns.svc.cluster.local svc.cluster.local cluster.local corp.example _x.example .\n\
                    nameserver 10.96.0.10\nnameserver fd00::a\noptions ndots:5\n";
        assert_eq!(
            cluster_first(text),
            Some(ClusterFirst {
                nameservers: vec![
                    "10.96.0.10:53".parse().expect("valid"),
                    "[fd00::a]:53".parse().expect("valid")
                ],
                domain: podlocal_settings::Settings::defaults().cluster_domain,
                node_search: vec!["corp.example".to_owned(), "_x.example".to_owned()],
            })
        );
    }

    #[test]
    fn file_without_cluster_search_list_is_ignored() {
        for text in [
            "",
            "nameserver 192.168.1.1\nsearch home.example\n",
            "nameserver 10.0.0.2\nsearch a.b c.d e.f\n",
            "search ns.svc.cluster.local svc.cluster.local cluster.local\n",
            "nameserver 127.0.0.53\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\n",
            "nameserver 10.96.0.10\nsearch svc.cluster.local svc.cluster.local cluster.local\n",
        ] {
            assert_eq!(cluster_first(text), None, "{text}");
        }
    }
}
