//! The reasons why a pod stays as it is.

use crate::dns::Unfit;

/// Why a pod stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`sentence` says what each means")]
pub enum Skip {
    NotAPod,
    OptedOut,
    MirrorPod,
    Windows,
    HostNetwork,
    OldKubernetes,
    AlreadyInjected,
    NameTaken,
    DnsPolicyDefault,
    DnsPolicyNone,
    DnsPolicyUnknown,
    DnsPortTaken,
    AdminPortTaken,
    PortSysctl,
    NoClusterDns,
    NoNameserver,
    TooManyNameservers,
    TooManySearchDomains,
    SearchListTooLong,
    LimitRange,
}

impl Skip {
    /// Every reason, in the order of the truth table.
    pub const ALL: [Self; 20] = [
        Self::NotAPod,
        Self::OptedOut,
        Self::MirrorPod,
        Self::Windows,
        Self::AlreadyInjected,
        Self::NameTaken,
        Self::HostNetwork,
        Self::OldKubernetes,
        Self::DnsPolicyDefault,
        Self::DnsPolicyNone,
        Self::DnsPolicyUnknown,
        Self::DnsPortTaken,
        Self::AdminPortTaken,
        Self::PortSysctl,
        Self::NoClusterDns,
        Self::NoNameserver,
        Self::TooManyNameservers,
        Self::TooManySearchDomains,
        Self::SearchListTooLong,
        Self::LimitRange,
    ];

    /// The name for machines: a metric's label, a log field. Never changes.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAPod => "not_a_pod",
            Self::OptedOut => "opted_out",
            Self::MirrorPod => "mirror_pod",
            Self::Windows => "windows",
            Self::HostNetwork => "host_network",
            Self::OldKubernetes => "kubernetes_too_old",
            Self::AlreadyInjected => "already_injected",
            Self::NameTaken => "container_name_taken",
            Self::DnsPolicyDefault => "dns_policy_default",
            Self::DnsPolicyNone => "dns_policy_none",
            Self::DnsPolicyUnknown => "dns_policy_unknown",
            Self::DnsPortTaken => "dns_port_taken",
            Self::AdminPortTaken => "admin_port_taken",
            Self::PortSysctl => "unprivileged_port_start",
            Self::NoClusterDns => "no_cluster_dns",
            Self::NoNameserver => "no_nameserver",
            Self::TooManyNameservers => "too_many_nameservers",
            Self::TooManySearchDomains => "too_many_search_domains",
            Self::SearchListTooLong => "search_list_too_long",
            Self::LimitRange => "limit_range",
        }
    }

    /// The sentence for people; completes "not injected: ".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotAPod => "the object has no spec with containers",
            Self::OptedOut => "the pod's label opts it out",
            Self::MirrorPod => "it is the mirror of a static pod, which the API server cannot change",
            Self::Windows => "it is a Windows pod, and the proxy needs Linux",
            Self::HostNetwork => {
                "it uses the node's network, where port 53 may be taken and other pods would see the proxy"
            }
            Self::OldKubernetes => "native sidecars need Kubernetes 1.29 or newer",
            Self::AlreadyInjected => "it has the proxy already",
            Self::NameTaken => "a container of the pod has the proxy's name but is not the proxy",
            Self::DnsPolicyDefault => {
                "its dnsPolicy is Default: it asks for the node's DNS, not the cluster's"
            }
            Self::DnsPolicyNone => {
                "its dnsPolicy is None: it names its own servers; the pod's label can ask for the proxy"
            }
            Self::DnsPolicyUnknown => "its dnsPolicy is none that Kubernetes knows",
            Self::DnsPortTaken => "a container of the pod declares port 53, where the proxy would listen",
            Self::AdminPortTaken => {
                "a container of the pod declares the proxy's admin port; an annotation can move that"
            }
            Self::PortSysctl => {
                "a sysctl of the pod keeps port 53 for privileged processes, which the proxy is not"
            }
            Self::NoClusterDns => "the address of the cluster's DNS is not known to the webhook",
            Self::NoNameserver => "its dnsConfig names no server that the proxy could ask",
            Self::TooManyNameservers => {
                "its dnsConfig has more than the 3 nameservers that Kubernetes allows"
            }
            Self::TooManySearchDomains => {
                "it would have more than the 32 search domains that Kubernetes allows"
            }
            Self::SearchListTooLong => {
                "its search domains would have more than the 2048 characters that Kubernetes allows"
            }
            Self::LimitRange => "a LimitRange of its namespace would refuse it with what the proxy needs",
        }
    }

    /// Whether the user has to learn of it; not where the pod asks for it, or where it is as it should be.
    pub fn is_a_surprise(self) -> bool {
        !matches!(self, Self::OptedOut | Self::MirrorPod | Self::AlreadyInjected)
    }
}

impl From<Unfit> for Skip {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NoClusterDns => Self::NoClusterDns,
            Unfit::NoNameserver => Self::NoNameserver,
            Unfit::TooManyNameservers => Self::TooManyNameservers,
            Unfit::TooManySearchDomains => Self::TooManySearchDomains,
            Unfit::SearchListTooLong => Self::SearchListTooLong,
        }
    }
}
