//! Settings of who is asked, and where we listen.

use super::{Place, Setting};

/// `upstream`
pub const UPSTREAM: Setting = Setting {
    name: "upstream",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The DNS servers to ask, in order of preference, at most 8; port 53 unless given. Default: in a pod the \
               cluster's DNS, else the nameservers of /etc/resolv.conf that are not the proxy itself.",
    source: "resolv.conf(5)",
    place: Place::Both,
};

/// `backup-upstream`
pub const BACKUP_UPSTREAM: Setting = Setting {
    name: "backup-upstream",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "DNS servers to ask while those of `upstream` are silent for 2 s or refuse, at most 8. They may know other names, so \
               their answer that a name does not exist is not believed. Default: in a pod that uses the cluster's DNS the \
               nameservers of its own dnsConfig, else none.",
    source: "the kubelet appends a pod's nameservers to the cluster's; resolv.conf(5) takes all for one service",
    place: Place::Both,
};

/// `forward-zones`
pub const FORWARD_ZONES: Setting = Setting {
    name: "forward-zones",
    unit: "zones and their servers",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Zones whose names are asked of servers of their own, and of nobody else: \
               `consul=10.0.0.53,corp.example=10.1.0.1+10.1.0.2`. At most 16 zones, each with at most 8 servers in order of \
               preference; port 53 unless given. A zone holds for its own name and all names below it; of several, the \
               longest holds. Names in the cluster domain always belong to the cluster's DNS. Default: none.",
    source: "what `server=/zone/` of dnsmasq and a stub domain of CoreDNS do, for one workload",
    place: Place::Both,
};

/// `upstream-transport`
pub const UPSTREAM_TRANSPORT: Setting = Setting {
    name: "upstream-transport",
    unit: "auto, udp or tcp",
    default: "auto",
    smallest: "",
    largest: "",
    sentence: "How the upstream and the servers of forward zones are asked. `auto`: over UDP, and over TCP what was lost twice while the server answers others. \
               `udp`: over TCP only what UDP truncates. `tcp`: always over TCP.",
    source: "UDP is faster and may be lost; a network policy may let only one of them through",
    place: Place::Both,
};

/// `zone`
pub const ZONE: Setting = Setting {
    name: "zone",
    unit: "a domain name",
    default: "cluster.local",
    smallest: "",
    largest: "",
    sentence: "The cluster domain.",
    source: "Kubernetes DNS-Based Service Discovery, section 2; the default of the kubelet's clusterDomain in kubeadm",
    place: Place::Sidecar,
};

/// `namespace`
pub const NAMESPACE: Setting = Setting {
    name: "namespace",
    unit: "a namespace",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The pod's namespace. Default: none, and names of the pod's own namespace get no special treatment.",
    source: "the admission review names it",
    place: Place::Sidecar,
};

/// `search`
pub const SEARCH: Setting = Setting {
    name: "search",
    unit: "domain names",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The pod's search list, in order, at most 32; `.` alone: none. Default: with a namespace, what dnsPolicy \
               ClusterFirst gives; without, none.",
    source: "resolv.conf(5); MaxDNSSearchPaths of Kubernetes",
    place: Place::Sidecar,
};

/// `completion-search`
pub const COMPLETION_SEARCH: Setting = Setting {
    name: "completion-search",
    unit: "domain names",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Domains of `search` outside the cluster domain that the proxy tries itself, too, for names that the \
               client no longer expands. Default: none, because a wildcard there would answer for absolute names.",
    source: "the wire does not tell absolute names from relative ones; the webhook writes those of the pod's own dnsConfig",
    place: Place::Sidecar,
};

/// `listen`
pub const LISTEN: Setting = Setting {
    name: "listen",
    unit: "addresses",
    default: "127.0.0.1:53,[::1]:53",
    smallest: "",
    largest: "",
    sentence: "Where to serve DNS over UDP and TCP, at most 8; port 53 unless given. A pod without an IPv6 loopback \
               goes without [::1].",
    source: "resolv.conf(5) has no syntax for a port, so it is 53 in a pod",
    place: Place::Sidecar,
};

/// `admin-port`
pub const ADMIN_PORT: Setting = Setting {
    name: "admin-port",
    unit: "a port",
    default: "9353",
    smallest: "0",
    largest: "65535",
    sentence: "The port of /livez, /readyz and /metrics on the pod's addresses, and of lookup and stats inside the pod; 0 takes any free port.",
    source: "beside CoreDNS's 9153 and NodeLocal DNSCache's 9253",
    place: Place::Both,
};
