//! The reasons for which a pod is not injected, as labels and as sentences, and the next steps. Pure.

use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::table;

use crate::review::skip::Skip;

/// Why a pod does not get the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Neither the pod nor its namespace is opted in.
    NotOptedIn,
    /// The webhook configuration excludes its namespace.
    NamespaceExcluded,
    /// The webhook skips it.
    Skipped(Skip),
    /// It is not a valid pod; the webhook allows it unchanged.
    Malformed,
}

impl Reason {
    /// The stable label: the same as that of the webhook, if it has one.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotOptedIn => "not_opted_in",
            Self::NamespaceExcluded => "namespace_excluded",
            Self::Skipped(skip) => skip.label(),
            Self::Malformed => "malformed",
        }
    }

    /// The sentence for users; it completes "not: ".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotOptedIn => "neither the namespace nor the pod is opted in",
            Self::NamespaceExcluded => {
                "the webhook configuration excludes the namespace, whatever its labels are"
            }
            Self::Skipped(skip) => skip.sentence(),
            Self::Malformed => "it is not a valid pod, and the API server would refuse it",
        }
    }

    /// What to do if this is not intended.
    pub fn next_step(self) -> String {
        let opt_out = format!("or opt the pod out with the label {INJECT_LABEL}: {INJECT_DISABLED}");
        match self {
            Self::NotOptedIn => {
                format!(
                    "kubectl label namespace NAME {INJECT_LABEL}={INJECT_ENABLED}; to see the effect before that: --as-if-enabled"
                )
            }
            Self::NamespaceExcluded => "none: the cluster must be able to start without the webhook".to_owned(),
            Self::Malformed => "correct the document; `kubectl apply --dry-run=server` shows the error".to_owned(),
            Self::Skipped(skip) => match skip {
                Skip::NoContainers => "add spec.containers".to_owned(),
                Skip::OptedOut => {
                    format!("none if this is intended; otherwise remove the label {INJECT_LABEL} from the pod")
                }
                Skip::MirrorPod | Skip::WindowsPod => format!("none, {opt_out}"),
                Skip::AlreadyInjected => "none".to_owned(),
                Skip::HostNetwork => format!("run it without hostNetwork, {opt_out}"),
                Skip::KubernetesTooOld => "upgrade the cluster to Kubernetes 1.29 or newer".to_owned(),
                Skip::ContainerNameTaken => format!("give the container {CONTAINER_NAME} another name, {opt_out}"),
                Skip::DnsPolicyDefault => {
                    format!("set dnsPolicy: ClusterFirst if the pod may use cluster DNS, {opt_out}")
                }
                Skip::DnsPolicyNone => {
                    format!(
                        "set the label {INJECT_LABEL}: {INJECT_ENABLED} on the pod; the sidecar then queries the nameservers of the pod"
                    )
                }
                Skip::DnsPolicyUnknown => "correct dnsPolicy; the usual value is ClusterFirst".to_owned(),
                Skip::DnsPortTaken => format!("remove port 53 from its containers, {opt_out}"),
                Skip::AdminPortTaken => {
                    format!("choose another port with the annotation {}", table::ADMIN_PORT.annotation())
                }
                Skip::PrivilegedPortSysctl => format!("set the sysctl {PORT_SYSCTL} of the pod to 53 or less, {opt_out}"),
                Skip::ClusterDnsUnknown => "set the webhook's flag --cluster-dns; `kubectl -n kube-system get service kube-dns` shows the address".to_owned(),
                Skip::NoUsableNameserver => {
                    format!(
                        "add a server to dnsConfig.nameservers, or set the annotation {}",
                        table::UPSTREAM.annotation()
                    )
                }
                Skip::TooManyNameservers => "use at most 3 nameservers in dnsConfig".to_owned(),
                Skip::LimitRangeConflict => {
                    format!("raise the max of the LimitRange, or lower the pod's limits, {opt_out}")
                }
                Skip::TooManySearchDomains | Skip::SearchListTooLong => {
                    format!("remove search domains from the pod's dnsConfig, {opt_out}")
                }
            },
        }
    }

    /// Whether the pod was opted in but is not injected.
    pub fn is_unexpected(self) -> bool {
        match self {
            Self::NotOptedIn | Self::NamespaceExcluded => false,
            Self::Skipped(skip) => skip.is_unexpected(),
            Self::Malformed => true,
        }
    }

    /// Whether the pod is not opted in.
    pub fn is_not_opted_in(self) -> bool {
        matches!(self, Self::NotOptedIn | Self::NamespaceExcluded)
    }
}
