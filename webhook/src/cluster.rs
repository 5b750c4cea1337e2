//! What is known of the cluster that the pods run in. Pure.

use std::fmt;
use std::net::SocketAddr;

use podlocal_settings::value::{self, LocalNxdomain};

use crate::limits::Limits;
use crate::resolv_conf;

/// What is known of the cluster; a part of every decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's DNS servers, in order of preference; empty when unknown.
    pub dns: Vec<SocketAddr>,
    /// The cluster domain, lower case, without the final dot.
    pub domain: String,
    /// The search domains that the kubelet would put behind the cluster's own.
    pub extra_search: Vec<String>,
    /// The API server's version; `None` while unknown.
    pub version: Option<Version>,
    /// Whether the cluster's DNS gives answers for names that cannot exist (rewrite, hosts, template, multicluster):
    /// then nobody but that DNS can know which names exist.
    pub serves_impossible_names: bool,
    /// Whether the cluster's DNS was seen not to deny a namespace that exists (kube-dns does): only then is everything
    /// below a denied namespace denied.
    pub admits_namespaces: bool,
    /// The shared tier that stands between the pods' proxies and the cluster's DNS.
    pub shared_tier: Tier,
    /// The LimitRanges of the namespaces.
    pub limits: Limits,
}

/// What is known of the shared tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// Where it is reached; empty when there is none.
    pub addresses: Vec<SocketAddr>,
    /// Whether it, too, gives answers for names that cannot exist; `None` while nobody knows. It is asked only where the
    /// cluster's DNS does.
    pub serves_impossible_names: Option<bool>,
}

/// What the flags say about the cluster.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each is the flag of that name")]
pub struct ClusterFlags {
    pub dns: Vec<SocketAddr>,
    pub domain: Option<String>,
    pub extra_search: Vec<String>,
    pub shared_tier: Vec<SocketAddr>,
}

/// A version of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1 in 1.29.
    pub major: u32,
    /// 29 in 1.29.
    pub minor: u32,
}

impl Cluster {
    /// The cluster as the flags and, where they are silent, the text of our own `resolv.conf` describe it.
    ///
    /// The node's search domains are taken from the file as long as no flag gives any.
    pub fn new(flags: &ClusterFlags, resolv_conf: &str) -> Self {
        let found = resolv_conf::cluster_first(resolv_conf);
        let (dns, domain, node_search) = match found {
            Some(found) => (found.nameservers, Some(found.domain), found.node_search),
            None => (Vec::new(), None, Vec::new()),
        };
        let default_domain = || podlocal_settings::Settings::defaults().cluster_domain;
        Self {
            dns: if flags.dns.is_empty() { dns } else { flags.dns.clone() },
            domain: flags.domain.clone().or(domain).unwrap_or_else(default_domain),
            extra_search: if flags.extra_search.is_empty() {
                node_search
            } else {
                flags.extra_search.clone()
            },
            version: None,
            serves_impossible_names: false,
            admits_namespaces: false,
            shared_tier: Tier::at(flags.shared_tier.clone()),
            limits: Limits::default(),
        }
    }

    /// The search domains of the nodes that a pod's dnsConfig may have. One with an underscore is refused by an API server
    /// before 1.34, where `RelaxedDNSSearchValidation` is locked (`kubernetes/pkg/features/kube_features.go`): without
    /// us the kubelet adds it unseen, and with it no pod could be created.
    pub fn node_search(&self) -> impl Iterator<Item = &String> {
        let is_relaxed = self.version.is_some_and(|version| version >= Version::RELAXED_SEARCH);
        self.extra_search.iter().filter(move |domain| is_relaxed || value::domain(domain).is_ok())
    }

    /// The addresses of the shared tier that new pods are told of. A tier that denies names which the cluster's DNS has
    /// would hide them, for the life of each pod.
    ///
    /// | the cluster's DNS | the tier | new pods are told |
    /// |---|---|---|
    /// | has no names that cannot exist | | of it |
    /// | has some | has them, too | of it |
    /// | has some | denies them, or nobody knows yet | of none |
    pub fn told_tier(&self) -> &[SocketAddr] {
        let hides_names =
            self.serves_impossible_names && self.shared_tier.serves_impossible_names != Some(true);
        if hides_names { &[] } else { &self.shared_tier.addresses }
    }
}

impl Cluster {
    /// What the proxy of a new pod may decide itself, where the pod does not say; `upstream` is the server that it asks.
    ///
    /// | the cluster's DNS | the pod asks | local-nxdomain |
    /// |---|---|---|
    /// | has names that cannot exist | the cluster's DNS or what the pod chose | off |
    /// | has none, and admits namespaces | the cluster's DNS | full |
    /// | anything else | | impossible |
    ///
    /// `is_own`: the pod has a dnsPolicy `None`, and the cluster's DNS says nothing about its servers.
    pub fn local_nxdomain(&self, is_own: bool, upstream: Option<&SocketAddr>) -> LocalNxdomain {
        let is_seen = upstream.is_some_and(|server| self.dns.contains(server));
        if self.serves_impossible_names && !is_own {
            LocalNxdomain::Off
        } else if self.admits_namespaces && is_seen {
            LocalNxdomain::Full
        } else {
            LocalNxdomain::Impossible
        }
    }
}

impl Tier {
    /// A tier of which nothing else is known yet.
    pub fn at(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, serves_impossible_names: None }
    }
}

impl Version {
    /// The first version with native sidecars on by default (`SidecarContainers` in
    /// `kubernetes/pkg/features/kube_features.go`).
    pub const NATIVE_SIDECARS: Self = Self { major: 1, minor: 29 };

    /// The first version that always takes underscores in the search domains of a pod.
    pub const RELAXED_SEARCH: Self = Self { major: 1, minor: 34 };

    /// From the texts of `/version`, where some distributions write the minor version as `29+`.
    pub fn parse(major: &str, minor: &str) -> Option<Self> {
        let leading_number = |text: &str| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            text[..digits].parse().ok()
        };
        Some(Self { major: leading_number(major)?, minor: leading_number(minor)? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_A_POD: &str =
        "search ns.svc.corp.internal svc.corp.internal corp.internal node.example\nnameserver 10.96.0.10\n";

    #[test]
    fn flags_win_over_resolv_conf_one_by_one() {
        let flags =
            ClusterFlags { dns: vec!["10.0.0.10:53".parse().expect("valid")], ..ClusterFlags::default() };
        let cluster = Cluster::new(&flags, OF_A_POD);
        assert_eq!(cluster.dns, flags.dns);
        assert_eq!(cluster.domain, "corp.internal");
        assert_eq!(cluster.extra_search, ["node.example"]);
    }

    #[test]
    fn without_flags_and_resolv_conf_only_the_default_domain_is_known() {
        let cluster = Cluster::new(&ClusterFlags::default(), "nameserver 192.168.1.1\n");
        assert_eq!((cluster.dns.len(), cluster.domain.as_str()), (0, "cluster.local"));
    }

    #[test]
    fn underscore_search_domains_need_kubernetes_1_34() {
        let text = OF_A_POD.replace("node.example", "node.example _dc.example");
        let mut cluster = Cluster::new(&ClusterFlags::default(), &text);
        for (minor, is_kept) in [(None, false), (Some(33), false), (Some(34), true), (Some(35), true)] {
            cluster.version = minor.map(|minor| Version { major: 1, minor });
            let expected = if is_kept { &["node.example", "_dc.example"][..] } else { &["node.example"] };
            assert_eq!(cluster.node_search().collect::<Vec<_>>(), expected, "{minor:?}");
        }
    }

    #[test]
    fn tier_that_may_hide_names_of_cluster_dns_is_not_used() {
        let address = "10.96.0.53:53".parse().expect("valid");
        let flags = ClusterFlags { shared_tier: vec![address], ..ClusterFlags::default() };
        let mut cluster = Cluster::new(&flags, OF_A_POD);
        for (of_dns, of_tier, is_told) in [
            (false, None, true),
            (false, Some(false), true),
            (true, Some(true), true),
            (true, Some(false), false),
            (true, None, false),
        ] {
            cluster.serves_impossible_names = of_dns;
            cluster.shared_tier.serves_impossible_names = of_tier;
            assert_eq!(cluster.told_tier() == [address], is_told, "{of_dns} {of_tier:?}");
        }
    }

    #[test]
    fn search_assist_is_full_only_for_verified_servers() {
        let own: SocketAddr = "8.8.8.8:53".parse().expect("valid");
        let mut cluster = Cluster::new(&ClusterFlags::default(), OF_A_POD);
        let dns = cluster.dns[0];
        for (serves, admits, is_own, server, expected) in [
            (false, false, false, dns, LocalNxdomain::Impossible),
            (false, true, false, dns, LocalNxdomain::Full),
            (false, true, false, own, LocalNxdomain::Impossible),
            (true, true, false, dns, LocalNxdomain::Off),
            (true, false, false, own, LocalNxdomain::Off),
            (true, true, true, own, LocalNxdomain::Impossible),
            (false, true, true, dns, LocalNxdomain::Full),
        ] {
            (cluster.serves_impossible_names, cluster.admits_namespaces) = (serves, admits);
            assert_eq!(
                cluster.local_nxdomain(is_own, Some(&server)),
                expected,
                "{serves} {admits} {is_own} {server}"
            );
        }
        assert_eq!(cluster.local_nxdomain(false, None), LocalNxdomain::Impossible);
    }

    #[test]
    fn versions_of_distributions_are_understood_and_ordered() {
        assert_eq!(Version::parse("1", "29+"), Some(Version { major: 1, minor: 29 }));
        assert_eq!(Version::parse("1", ""), None);
        assert!(Version::parse("1", "28") < Some(Version::NATIVE_SIDECARS));
        assert!(Version { major: 2, minor: 0 } > Version::NATIVE_SIDECARS);
    }
}
