//! The known state of the cluster in which the pods run. Pure.

use podlocal_settings::value::DomainName;
use std::fmt;
use std::net::SocketAddr;

use podlocal_settings::value::{self, LocalNxdomain};

use super::limits::Limits;

mod resolv_conf;

/// The known state of the cluster, an input of every decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The addresses of cluster DNS, in order of preference; empty if unknown.
    pub dns: Vec<SocketAddr>,
    /// The cluster domain, lower case, without the final dot.
    pub domain: DomainName,
    /// The search domains of the nodes, which the kubelet appends to those of the cluster.
    pub extra_search: Vec<String>,
    /// The version of the API server; `None` while it is unknown.
    pub version: Option<Version>,
    /// Whether cluster DNS answers queries for impossible names (rewrite, hosts, template, multicluster):
    /// then only cluster DNS knows which names exist.
    pub serves_impossible_names: bool,
    /// Whether cluster DNS was seen to answer NOERROR for an existing namespace (kube-dns answers NXDOMAIN):
    /// only then does NXDOMAIN for a namespace apply to all names below it.
    pub admits_namespaces: bool,
    /// The shared tier between the sidecars and cluster DNS.
    pub shared_tier: Tier,
    /// The LimitRanges of the namespaces.
    pub limits: Limits,
}

/// The known state of the shared tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// Its addresses; empty if there is none.
    pub addresses: Vec<SocketAddr>,
    /// Whether the shared tier also answers queries for impossible names; `None` while unknown. It is checked
    /// only if cluster DNS answers them.
    pub serves_impossible_names: Option<bool>,
}

/// The flags that describe the cluster.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each is the flag of that name")]
pub struct ClusterFlags {
    pub dns: Vec<SocketAddr>,
    pub domain: Option<DomainName>,
    pub extra_search: Vec<String>,
    pub shared_tier: Vec<SocketAddr>,
}

/// A version of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The 1 of 1.29.
    pub major: u32,
    /// The 29 of 1.29.
    pub minor: u32,
}

impl Cluster {
    /// The cluster as described by the flags and, where a flag is not set, by the text of the webhook's own
    /// `resolv.conf`.
    ///
    /// The search domains of the node come from the file unless a flag sets them.
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

    /// The search domains of the nodes that a pod's dnsConfig may contain. An API server before 1.34, where
    /// `RelaxedDNSSearchValidation` is locked (`kubernetes/pkg/features/kube_features.go`), rejects a domain
    /// with an underscore: the kubelet adds such a domain without validation, but in a dnsConfig it would
    /// prevent the creation of the pod.
    pub(crate) fn node_search(&self) -> impl Iterator<Item = &String> {
        let is_relaxed = self.version.is_some_and(|version| version >= Version::RELAXED_SEARCH);
        self.extra_search.iter().filter(move |domain| is_relaxed || value::domain(domain).is_ok())
    }

    /// The addresses of the shared tier for new pods. A tier that answers NXDOMAIN for names of cluster DNS
    /// would hide them for the whole life of each pod.
    ///
    /// | cluster DNS | the tier | new pods use |
    /// |---|---|---|
    /// | answers NXDOMAIN for impossible names | | the tier |
    /// | answers for impossible names | answers, too | the tier |
    /// | answers for impossible names | answers NXDOMAIN, or is not checked yet | no tier |
    pub(crate) fn tier_for_new_pods(&self) -> &[SocketAddr] {
        let hides_names =
            self.serves_impossible_names && self.shared_tier.serves_impossible_names != Some(true);
        if hides_names { &[] } else { &self.shared_tier.addresses }
    }
}

impl Cluster {
    /// Which names the sidecar of a new pod may answer itself, if the pod does not set it; `upstream` is its
    /// first server.
    ///
    /// | cluster DNS | the pod asks | local-nxdomain |
    /// |---|---|---|
    /// | answers for impossible names | cluster DNS or a chosen server | off |
    /// | answers NXDOMAIN for them, and NOERROR for namespaces | cluster DNS | full |
    /// | anything else | | impossible |
    ///
    /// `is_own`: the pod has dnsPolicy `None`, so the checks of cluster DNS say nothing about its servers.
    pub(crate) fn local_nxdomain(&self, is_own: bool, upstream: Option<&SocketAddr>) -> LocalNxdomain {
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
    /// A tier that is not checked yet.
    pub(crate) fn at(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, serves_impossible_names: None }
    }
}

impl Version {
    /// The first version with native sidecars on by default (`SidecarContainers` in
    /// `kubernetes/pkg/features/kube_features.go`).
    pub(crate) const NATIVE_SIDECARS: Self = Self { major: 1, minor: 29 };

    /// The first version that always accepts underscores in the search domains of a pod.
    pub(crate) const RELAXED_SEARCH: Self = Self { major: 1, minor: 34 };

    /// Parses the strings of `/version`; some distributions write the minor version as `29+`.
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
        assert_eq!(cluster.domain.as_str(), "corp.internal");
        assert_eq!(cluster.extra_search, ["node.example"]);
    }

    #[test]
    fn without_flags_and_resolv_conf_only_the_default_domain_is_known() {
        let cluster = Cluster::new(&ClusterFlags::default(), "nameserver 192.168.1.1\n");
        assert_eq!((cluster.dns.len(), cluster.domain.as_str()), (0, "cluster.local"));
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
