//! Why a pod does not get the proxy, for machines and for people, and what to do about it. Pure.

use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::table;

use super::assess::Reason;
use crate::decide::Skip;

impl Reason {
    /// The name for machines: where the webhook has one, the same.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotOptedIn => "not_opted_in",
            Self::NamespaceLeftOut => "namespace_left_out",
            Self::Skipped(skip) => skip.label(),
            Self::Malformed => "malformed",
        }
    }

    /// The sentence for people; completes "not: ".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotOptedIn => "neither its namespace nor the pod is opted in",
            Self::NamespaceLeftOut => {
                "the webhook's configuration leaves its namespace out, whatever its labels say"
            }
            Self::Skipped(skip) => skip.sentence(),
            Self::Malformed => "it has a shape that no pod has, and the API server would refuse it",
        }
    }

    /// What to do, if it is not meant so.
    pub fn next_step(self) -> String {
        let leave_out = format!("or leave the pod out: label {INJECT_LABEL}: {INJECT_DISABLED}");
        match self {
            Self::NotOptedIn => {
                format!(
                    "kubectl label namespace NAME {INJECT_LABEL}={INJECT_ENABLED}; before that, --as-if-enabled"
                )
            }
            Self::NamespaceLeftOut => "none: the cluster must be able to start without us".to_owned(),
            Self::Malformed => "correct the document; `kubectl apply --dry-run=server` says where".to_owned(),
            Self::Skipped(skip) => match skip {
                Skip::NotAPod => "give it spec.containers".to_owned(),
                Skip::OptedOut => {
                    format!("none, if that is meant; else take the label {INJECT_LABEL} from the pod")
                }
                Skip::MirrorPod | Skip::Windows => format!("none, {leave_out}"),
                Skip::AlreadyInjected => "none".to_owned(),
                Skip::HostNetwork => format!("run it without hostNetwork, {leave_out}"),
                Skip::OldKubernetes => "upgrade the cluster to Kubernetes 1.29 or newer".to_owned(),
                Skip::NameTaken => format!("give the container {CONTAINER_NAME} another name, {leave_out}"),
                Skip::DnsPolicyDefault => {
                    format!("dnsPolicy: ClusterFirst, where the pod may use it, {leave_out}")
                }
                Skip::DnsPolicyNone => {
                    format!(
                        "label the pod {INJECT_LABEL}: {INJECT_ENABLED}: then the proxy asks the pod's own servers"
                    )
                }
                Skip::DnsPolicyUnknown => "correct dnsPolicy: ClusterFirst is the usual one".to_owned(),
                Skip::DnsPortTaken => format!("take port 53 from its containers, {leave_out}"),
                Skip::AdminPortTaken => {
                    format!("annotate the pod with another port: {}", table::ADMIN_PORT.annotation())
                }
                Skip::PortSysctl => format!("make the pod's sysctl {PORT_SYSCTL} 53 or less, {leave_out}"),
                Skip::NoClusterDns => "give the webhook --cluster-dns ADDRESS: `kubectl -n kube-system get service kube-dns` shows it".to_owned(),
                Skip::NoNameserver => {
                    format!(
                        "name a server in dnsConfig.nameservers, or annotate {}",
                        table::UPSTREAM.annotation()
                    )
                }
                Skip::TooManyNameservers => "name 3 servers at most in dnsConfig.nameservers".to_owned(),
                Skip::LimitRange => {
                    format!("raise the max of the LimitRange, or lower the pod's limits, {leave_out}")
                }
                Skip::TooManySearchDomains | Skip::SearchListTooLong => {
                    format!("take search domains from the pod's dnsConfig, {leave_out}")
                }
            },
        }
    }

    /// Whether somebody has asked for what does not happen.
    pub fn is_a_surprise(self) -> bool {
        match self {
            Self::NotOptedIn | Self::NamespaceLeftOut => false,
            Self::Skipped(skip) => skip.is_a_surprise(),
            Self::Malformed => true,
        }
    }

    /// Whether nobody has asked for anything.
    pub fn is_not_opted_in(self) -> bool {
        matches!(self, Self::NotOptedIn | Self::NamespaceLeftOut)
    }
}
