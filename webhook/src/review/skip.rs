//! The reasons for which a pod is not injected.

/// Why a pod is not injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`sentence` says what each means")]
pub enum Skip {
    NoContainers,
    OptedOut,
    MirrorPod,
    WindowsPod,
    HostNetwork,
    KubernetesTooOld,
    AlreadyInjected,
    ContainerNameTaken,
    DnsPolicyDefault,
    DnsPolicyNone,
    DnsPolicyUnknown,
    DnsPortTaken,
    AdminPortTaken,
    PrivilegedPortSysctl,
    ClusterDnsUnknown,
    NoUsableNameserver,
    TooManyNameservers,
    TooManySearchDomains,
    SearchListTooLong,
    LimitRangeConflict,
}

impl Skip {
    /// Every reason, in the order of the truth table.
    pub const ALL: [Self; 20] = [
        Self::NoContainers,
        Self::OptedOut,
        Self::MirrorPod,
        Self::WindowsPod,
        Self::AlreadyInjected,
        Self::ContainerNameTaken,
        Self::HostNetwork,
        Self::KubernetesTooOld,
        Self::DnsPolicyDefault,
        Self::DnsPolicyNone,
        Self::DnsPolicyUnknown,
        Self::DnsPortTaken,
        Self::AdminPortTaken,
        Self::PrivilegedPortSysctl,
        Self::ClusterDnsUnknown,
        Self::NoUsableNameserver,
        Self::TooManyNameservers,
        Self::TooManySearchDomains,
        Self::SearchListTooLong,
        Self::LimitRangeConflict,
    ];

    /// The stable name in metric labels and log fields.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoContainers => "no_containers",
            Self::OptedOut => "opted_out",
            Self::MirrorPod => "mirror_pod",
            Self::WindowsPod => "windows_pod",
            Self::HostNetwork => "host_network",
            Self::KubernetesTooOld => "kubernetes_too_old",
            Self::AlreadyInjected => "already_injected",
            Self::ContainerNameTaken => "container_name_taken",
            Self::DnsPolicyDefault => "dns_policy_default",
            Self::DnsPolicyNone => "dns_policy_none",
            Self::DnsPolicyUnknown => "dns_policy_unknown",
            Self::DnsPortTaken => "dns_port_taken",
            Self::AdminPortTaken => "admin_port_taken",
            Self::PrivilegedPortSysctl => "privileged_port_sysctl",
            Self::ClusterDnsUnknown => "cluster_dns_unknown",
            Self::NoUsableNameserver => "no_usable_nameserver",
            Self::TooManyNameservers => "too_many_nameservers",
            Self::TooManySearchDomains => "too_many_search_domains",
            Self::SearchListTooLong => "search_list_too_long",
            Self::LimitRangeConflict => "limit_range_conflict",
        }
    }

    /// The sentence for users; it completes "not injected: ".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoContainers => "the object has no spec.containers",
            Self::OptedOut => "the label of the pod opts it out",
            Self::MirrorPod => "it is the mirror pod of a static pod, which the API server cannot change",
            Self::WindowsPod => "it is a Windows pod, and the sidecar needs Linux",
            Self::HostNetwork => {
                "it uses the network of the node, where port 53 may be in use and other pods could reach the sidecar"
            }
            Self::KubernetesTooOld => "native sidecars need Kubernetes 1.29 or newer",
            Self::AlreadyInjected => "it already has the sidecar",
            Self::ContainerNameTaken => {
                "a container of the pod has the name of the sidecar, but is another container"
            }
            Self::DnsPolicyDefault => {
                "its dnsPolicy is Default, so it uses the DNS of the node, not cluster DNS"
            }
            Self::DnsPolicyNone => {
                "its dnsPolicy is None, so it sets its own nameservers; the label of the pod can request the sidecar"
            }
            Self::DnsPolicyUnknown => "its dnsPolicy is unknown to Kubernetes",
            Self::DnsPortTaken => "a container of the pod declares port 53, on which the sidecar listens",
            Self::AdminPortTaken => {
                "a container of the pod declares the admin port of the sidecar; an annotation can choose another port"
            }
            Self::PrivilegedPortSysctl => {
                "a sysctl of the pod reserves port 53 for privileged processes, and the sidecar is unprivileged"
            }
            Self::ClusterDnsUnknown => "the webhook does not know the address of cluster DNS",
            Self::NoUsableNameserver => "its dnsConfig has no nameserver that the sidecar could query",
            Self::TooManyNameservers => {
                "its dnsConfig has more than the 3 nameservers that Kubernetes allows"
            }
            Self::TooManySearchDomains => {
                "it would have more than the 32 search domains that Kubernetes allows"
            }
            Self::SearchListTooLong => {
                "its search domains would have more than the 2048 characters that Kubernetes allows"
            }
            Self::LimitRangeConflict => {
                "with the resources of the sidecar, the pod would violate a LimitRange of its namespace"
            }
        }
    }

    /// Whether the owner must be told: not if the pod asks for it, or already has the sidecar.
    pub fn is_unexpected(self) -> bool {
        !matches!(self, Self::OptedOut | Self::MirrorPod | Self::AlreadyInjected)
    }
}
