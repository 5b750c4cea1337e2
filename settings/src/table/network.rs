//! Settings for upstream servers and listening addresses.

use super::{Place, Setting};

/// `upstream`
pub const UPSTREAM: Setting = Setting {
    name: "upstream",
    unit: "addresses",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The DNS servers to query, in order of preference, at most 8; port 53 unless given. Default: \
               in a pod cluster DNS, otherwise the nameservers of /etc/resolv.conf without the proxy \
               itself.",
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
    sentence: "DNS servers, at most 8, to query while those of `upstream` have not responded for 2 s, or \
               refuse. They may know other names, so the sidecar ignores their answer that a name does not \
               exist. Default: in a pod that uses cluster DNS the nameservers of its own dnsConfig, \
               otherwise none.",
    source: "the kubelet appends a pod's nameservers to those of the cluster; for resolv.conf(5) all \
             nameservers know the same names",
    place: Place::Both,
};

/// `forward-zones`
pub const FORWARD_ZONES: Setting = Setting {
    name: "forward-zones",
    unit: "zones and their servers",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Zones with their own servers; the sidecar queries only these servers for names of the zone: \
               `consul=10.0.0.53,corp.example=10.1.0.1+10.1.0.2`. At most 16 zones, each with at most 8 \
               servers in order of preference; port 53 unless given. A zone includes its own name and all \
               names below it; if several zones match, the longest wins. Names in the cluster domain \
               always go to cluster DNS. Default: none.",
    source: "like `server=/zone/` of dnsmasq and a stub domain of CoreDNS, but for one workload",
    place: Place::Both,
};

/// `upstream-transport`
pub const UPSTREAM_TRANSPORT: Setting = Setting {
    name: "upstream-transport",
    unit: "auto, udp or tcp",
    default: "auto",
    smallest: "",
    largest: "",
    sentence: "The transport of queries to the upstream and to the servers of forward zones. `auto`: UDP, \
               and TCP for a query that was lost twice while the server answers others. `udp`: UDP, and \
               TCP after a truncated response. `tcp`: always TCP.",
    source: "UDP is faster, but may lose messages; a network policy may allow only one of them",
    place: Place::Both,
};

/// `cluster-domain`
pub const CLUSTER_DOMAIN: Setting = Setting {
    name: "cluster-domain",
    unit: "a domain name",
    default: "cluster.local",
    smallest: "",
    largest: "",
    sentence: "The cluster domain.",
    source: "Kubernetes DNS-Based Service Discovery, section 2; the default of the kubelet's clusterDomain \
             in kubeadm",
    place: Place::Sidecar,
};

/// `namespace`
pub const NAMESPACE: Setting = Setting {
    name: "namespace",
    unit: "a namespace",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The pod's namespace. Default: none; then names of the pod's own namespace get no special \
               treatment.",
    source: "the admission review has it",
    place: Place::Sidecar,
};

/// `search`
pub const SEARCH: Setting = Setting {
    name: "search",
    unit: "domain names",
    default: "",
    smallest: "",
    largest: "",
    sentence: "The pod's search list, in order, at most 32 domains; `.` alone: none. Default: with a \
               namespace the search list of dnsPolicy ClusterFirst, without one none.",
    source: "resolv.conf(5); MaxDNSSearchPaths of Kubernetes",
    place: Place::Sidecar,
};

/// `completion-domains`
pub const COMPLETION_DOMAINS: Setting = Setting {
    name: "completion-domains",
    unit: "domain names",
    default: "",
    smallest: "",
    largest: "",
    sentence: "Domains of `search` outside the cluster domain that the sidecar tries, too, for names that \
               the client no longer expands. Default: none, because a wildcard in such a domain would \
               answer for absolute names.",
    source: "a query does not show whether its name is absolute; the webhook sets the domains of the pod's \
             own dnsConfig",
    place: Place::Sidecar,
};

/// `listen`
pub const LISTEN: Setting = Setting {
    name: "listen",
    unit: "addresses",
    default: "127.0.0.1:53,[::1]:53",
    smallest: "",
    largest: "",
    sentence: "The addresses on which the proxy serves DNS over UDP and TCP, at most 8; port 53 unless \
               given. A pod without an IPv6 loopback does without [::1].",
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
    sentence: "The port of /livez, /readyz and /metrics on the pod's addresses, and of \
               `podlocal-inspect` inside the pod; 0: any free port.",
    source: "next to CoreDNS's 9153 and NodeLocal DNSCache's 9253",
    place: Place::Both,
};
