//! The reasons for which a pod is not injected: one table with everything that users read about each.

use std::fmt::Display;

use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::table;
use podlocal_telemetry::named;

/// Declares [`Skip`]. A row has:
///
/// - the variant, and its stable name in metric labels and log fields;
/// - whether the owner of the pod must be told;
/// - the sentence for users, which completes "not injected: ";
/// - what to do if this is not intended.
macro_rules! reasons {
    ($($reason:ident = $label:literal, is_unexpected: $is_unexpected:literal, $sentence:literal, next: $next:expr;)+) => {
        named! {
            /// Why a pod is not injected.
            pub enum Skip {
                $(#[doc = $sentence] $reason = $label,)+
            }
        }

        impl Skip {
            /// The sentence for users; it completes "not injected: ".
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$reason => $sentence,)+
                }
            }

            /// What to do if this is not intended.
            pub fn next_step(self) -> String {
                match self {
                    $(Self::$reason => $next.to_string(),)+
                }
            }

            /// Whether the owner must be told: not if the pod asks for it, or already has the sidecar.
            pub fn is_unexpected(self) -> bool {
                match self {
                    $(Self::$reason => $is_unexpected,)+
                }
            }
        }
    };
}

reasons! {
    NoContainers = "no_containers", is_unexpected: true,
        "the object has no spec.containers",
        next: "add spec.containers";
    OptedOut = "opted_out", is_unexpected: false,
        "the label of the pod opts it out",
        next: format!("none if this is intended; otherwise remove the label {INJECT_LABEL} from the pod");
    MirrorPod = "mirror_pod", is_unexpected: false,
        "it is the mirror pod of a static pod, which the API server cannot change",
        next: or_opt_out("none");
    WindowsPod = "windows_pod", is_unexpected: true,
        "it is a Windows pod, and the sidecar needs Linux",
        next: or_opt_out("none");
    HostNetwork = "host_network", is_unexpected: true,
        "it uses the network of the node, where port 53 may be in use and other pods could reach the sidecar",
        next: or_opt_out("run it without hostNetwork");
    KubernetesTooOld = "kubernetes_too_old", is_unexpected: true,
        "native sidecars need Kubernetes 1.29 or newer",
        next: "upgrade the cluster to Kubernetes 1.29 or newer";
    AlreadyInjected = "already_injected", is_unexpected: false,
        "it already has the sidecar",
        next: "none";
    ContainerNameTaken = "container_name_taken", is_unexpected: true,
        "a container of the pod has the name of the sidecar, but is another container",
        next: or_opt_out(format!("give the container {CONTAINER_NAME} another name"));
    DnsPolicyDefault = "dns_policy_default", is_unexpected: true,
        "its dnsPolicy is Default, so it uses the DNS of the node, not cluster DNS",
        next: or_opt_out("set dnsPolicy: ClusterFirst if the pod may use cluster DNS");
    DnsPolicyNone = "dns_policy_none", is_unexpected: true,
        "its dnsPolicy is None, so it sets its own nameservers; the label of the pod can request the sidecar",
        next: format!("set the label {INJECT_LABEL}: {INJECT_ENABLED} on the pod; the sidecar then queries the nameservers of the pod");
    DnsPolicyUnknown = "dns_policy_unknown", is_unexpected: true,
        "its dnsPolicy is unknown to Kubernetes",
        next: "correct dnsPolicy; the usual value is ClusterFirst";
    DnsPortTaken = "dns_port_taken", is_unexpected: true,
        "a container of the pod declares port 53, on which the sidecar listens",
        next: or_opt_out("remove port 53 from its containers");
    AdminPortTaken = "admin_port_taken", is_unexpected: true,
        "a container of the pod declares the admin port of the sidecar; an annotation can choose another port",
        next: format!("choose another port with the annotation {}", table::ADMIN_PORT.annotation());
    PrivilegedPortSysctl = "privileged_port_sysctl", is_unexpected: true,
        "a sysctl of the pod reserves port 53 for privileged processes, and the sidecar is unprivileged",
        next: or_opt_out(format!("set the sysctl {PORT_SYSCTL} of the pod to 53 or less"));
    ClusterDnsUnknown = "cluster_dns_unknown", is_unexpected: true,
        "the webhook does not know the address of cluster DNS",
        next: "set the webhook's flag --cluster-dns; `kubectl -n kube-system get service kube-dns` shows the address";
    NoUsableNameserver = "no_usable_nameserver", is_unexpected: true,
        "its dnsConfig has no nameserver that the sidecar could query",
        next: format!("add a server to dnsConfig.nameservers, or set the annotation {}", table::UPSTREAM.annotation());
    TooManyNameservers = "too_many_nameservers", is_unexpected: true,
        "its dnsConfig has more than the 3 nameservers that Kubernetes allows",
        next: "use at most 3 nameservers in dnsConfig";
    TooManySearchDomains = "too_many_search_domains", is_unexpected: true,
        "it would have more than the 32 search domains that Kubernetes allows",
        next: or_opt_out("remove search domains from the pod's dnsConfig");
    SearchListTooLong = "search_list_too_long", is_unexpected: true,
        "its search domains would have more than the 2048 characters that Kubernetes allows",
        next: or_opt_out("remove search domains from the pod's dnsConfig");
    LimitRangeConflict = "limit_range_conflict", is_unexpected: true,
        "with the resources of the sidecar, the pod would violate a LimitRange of its namespace",
        next: or_opt_out("raise the max of the LimitRange, or lower the pod's limits");
}

/// The next step, with the alternative that every such pod has.
fn or_opt_out(next: impl Display) -> String {
    format!("{next}, or opt the pod out with the label {INJECT_LABEL}: {INJECT_DISABLED}")
}
