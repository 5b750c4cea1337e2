//! The contract between the webhook, which writes settings into pods, and the sidecar, which reads them.
//!
//! ```text
//!   table     every setting: name, default, bounds, sentence, where it may be given
//!   read      texts from flags, variables, annotations or a file -> [`Settings`], and all errors together
//!   write     the given settings -> the environment of the sidecar
//!   value     one strict parser for each kind of value
//!   page      the table as the page in the docs, and as lines of a help text
//!   names     fixed names that several programs use: labels, the container, paths, ids
//! ```
//!
//! This crate depends neither on DNS packets nor on Kubernetes. No other crate contains the name of a
//! setting.

pub mod names;
pub mod page;
pub mod read;
pub mod table;
pub mod value;
pub mod write;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use value::{
    AllowedSources, ForwardZone, LocalNxdomain, LogLevel, Quantity, Role, UpstreamTransport, Workers,
};

/// All settings as typed values; the table ([`table::TABLE`]) says what each means, its default and its
/// bounds.
///
/// Made by [`read::read`]. Both programs read the same struct; each uses the fields that concern it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is the setting of that name")]
pub struct Settings {
    /// The clients of the proxy; other defaults depend on it.
    pub role: Role,
    /// The addresses on which the proxy serves DNS over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The DNS servers to query; empty: those of `/etc/resolv.conf`, or cluster DNS.
    pub upstream: Vec<SocketAddr>,
    /// The cluster domain in lower case, without the final dot.
    pub cluster_domain: String,
    /// The namespace of the pod, if it is known.
    pub namespace: Option<String>,
    /// The search list of the pod, in order; `None`: the one of its namespace ([`Settings::search_list`]).
    pub search: Option<Vec<String>>,
    /// Domains of the search list outside the cluster domain that the proxy tries itself.
    pub completion_domains: Vec<String>,
    /// The queries inside the cluster domain that the proxy answers NXDOMAIN by itself.
    pub local_nxdomain: LocalNxdomain,
    /// Names that the proxy resolves at startup and keeps fresh.
    pub prefetch_names: Vec<String>,
    /// Names, or `*.` and a suffix, for whose appearance queries wait.
    pub wait_for_names: Vec<String>,
    /// How long such a query waits.
    pub wait_timeout: Duration,
    /// How long `await` holds the other containers of the pod back at most.
    pub ready_timeout: Duration,
    /// The limit of the cache, in bytes of memory.
    pub cache_size: u64,
    /// The shortest time for which a positive answer is cached.
    pub min_ttl: Duration,
    /// The longest time for which a positive answer is cached.
    pub max_ttl: Duration,
    /// The longest time for which a negative answer is cached; inside the cluster domain at most 5 s.
    pub max_negative_ttl: Duration,
    /// How long after its expiry an answer may be sent while the upstream fails; zero: never.
    pub serve_stale: Duration,
    /// Whether the proxy refreshes popular answers before they expire.
    pub refresh_ahead: bool,
    /// The servers that are queried while the upstream is silent or refuses, and may know other names; empty:
    /// none.
    pub backup_upstream: Vec<SocketAddr>,
    /// Zones with their own servers; empty: none.
    pub forward_zones: Vec<ForwardZone>,
    /// The transport of queries to the upstream and to the servers of forward zones.
    pub upstream_transport: UpstreamTransport,
    /// The shared tier, which the sidecar queries before the upstream; empty: none.
    pub shared_tier: Vec<SocketAddr>,
    /// Whether the sidecar of a pod uses the shared tier that the webhook finds.
    pub use_shared_tier: bool,
    /// The port of `/livez`, `/readyz` and `/metrics`; 0: any free port.
    pub admin_port: u16,
    /// The lowest level of logged messages.
    pub log_level: LogLevel,
    /// Whether each query is logged.
    pub query_log: bool,
    /// The `ndots` option of the injected pod's `resolv.conf`, from which the proxy knows which names are not
    /// expanded.
    pub ndots: u8,
    /// The `ndots` option that the pod would have without the sidecar.
    pub original_ndots: u8,
    /// Whether cluster DNS is the second nameserver in the `resolv.conf` of the pod.
    pub fallback_nameserver: bool,
    /// The image of the sidecar; `None`: the default of the webhook.
    pub image: Option<String>,
    /// The sidecar's CPU request.
    pub cpu_request: Quantity,
    /// The CPU limit of the sidecar; `None`: none, unless the pod needs one.
    pub cpu_limit: Option<Quantity>,
    /// The memory request of the sidecar; `None`: computed from the size of the cache.
    pub memory_request: Option<Quantity>,
    /// The memory limit of the sidecar; `None`: computed from the size of the cache.
    pub memory_limit: Option<Quantity>,
    /// The number of threads that answer queries.
    pub workers: Workers,
    /// The addresses that get answers.
    pub allowed_sources: AllowedSources,
    /// The largest answer over UDP, in bytes.
    pub max_udp_size: usize,
    /// How long the proxy still answers all queries after SIGTERM, before it drains.
    pub lame_duck: Duration,
    /// The limit of upstream queries in flight.
    pub max_in_flight: usize,
    /// The limit of client queries that wait.
    pub max_waiters: usize,
    /// The limit of client queries that wait for the same upstream query.
    pub max_waiters_per_query: usize,
    /// The limit of TCP connections of clients.
    pub max_tcp_connections: usize,
    /// The limit of TCP connections of one address; 0: none.
    pub max_tcp_connections_per_source: u32,
    /// The limit of queries of one address that wait; 0: none.
    pub max_misses_per_source: u32,
    /// The limit of queries per second of one address that are not in the cache; 0: none.
    pub max_miss_rate_per_source: u32,
}

impl Settings {
    /// The defaults of the role `pod`.
    pub fn defaults() -> Self {
        read::read(|_| Vec::new()).settings
    }

    /// The memory request of the sidecar: as set, or what an idle proxy and a full cache take. It never
    /// exceeds a limit that was set without it.
    pub fn memory_request(&self) -> Quantity {
        let computed = Quantity::of_bytes(self.memory_of_full_cache());
        match (&self.memory_request, &self.memory_limit) {
            (Some(request), _) => request.clone(),
            (None, Some(limit)) if *limit < computed => limit.clone(),
            (None, _) => computed,
        }
    }

    /// The memory that an idle proxy and a full cache take, in bytes.
    pub fn memory_of_full_cache(&self) -> u64 {
        (8 << 20) + self.cache_size
    }

    /// The memory limit of the sidecar: as set, or room for a full cache and every buffer at its limit. It
    /// is never below a request that was set without it.
    pub fn memory_limit(&self) -> Quantity {
        let computed = Quantity::of_bytes((24 << 20) + 2 * self.cache_size);
        match (&self.memory_limit, &self.memory_request) {
            (Some(limit), _) => limit.clone(),
            (None, Some(request)) if *request > computed => request.clone(),
            (None, _) => computed,
        }
    }

    /// The search list: as given, else what the kubelet writes for dnsPolicy ClusterFirst
    /// (`generateSearchesForDNSClusterFirst` in `kubernetes/pkg/kubelet/network/dns/dns.go`).
    pub fn search_list(&self) -> Vec<String> {
        let zone = &self.cluster_domain;
        match (&self.search, &self.namespace) {
            (Some(search), _) => search.clone(),
            (None, Some(namespace)) => {
                vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.clone()]
            }
            (None, None) => Vec::new(),
        }
    }

    /// The domains that the proxy tries itself for names that the client no longer expands, in the order of
    /// the search list.
    pub fn completion_list(&self) -> Vec<String> {
        let is_inside = |domain: &str| {
            domain
                .strip_suffix(self.cluster_domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let mut list = self.search_list();
        list.retain(|domain| is_inside(domain) || self.completion_domains.contains(domain));
        list
    }

    /// Whether a query to that address arrives at this proxy: the proxy listens on it, or it is the
    /// unspecified address, which the kernel takes for the loopback.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        is_own(&self.listen, address)
    }

    /// Whether the proxy listens on that address. A proxy that listens on every address listens on the
    /// loopback; its other addresses are not known here, and a loop through them is found when it happens.
    pub fn listens_on(&self, address: SocketAddr) -> bool {
        listens_on(&self.listen, address)
    }
}

/// [`Settings::is_own`] of a proxy with these addresses.
fn is_own(listen: &[SocketAddr], address: SocketAddr) -> bool {
    listens_on(listen, address) || address.ip().to_canonical().is_unspecified()
}

/// An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) counts as the IPv4 address, to which the kernel
/// sends.
fn listens_on(listen: &[SocketAddr], address: SocketAddr) -> bool {
    let is_here = |own: IpAddr, other: IpAddr| {
        own == other
            || own.is_unspecified()
                && own.is_ipv4() == other.is_ipv4()
                && (other.is_loopback() || other.is_unspecified())
    };
    listen.iter().any(|own| {
        own.port() == address.port() && is_here(own.ip().to_canonical(), address.ip().to_canonical())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn completion_has_cluster_domains_and_completion_domains() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let settings = Settings {
            search: Some(texts(&[
                "web.svc.cluster.local",
                "corp.example",
                "cluster.local",
                "mycluster.local",
            ])),
            ..Settings::defaults()
        };
        assert_eq!(settings.completion_list(), ["web.svc.cluster.local", "cluster.local"]);
        let asked = Settings { completion_domains: texts(&["corp.example", "gone.example"]), ..settings };
        assert_eq!(asked.completion_list(), ["web.svc.cluster.local", "corp.example", "cluster.local"]);
    }

    use super::*;
    use crate::read::{Given, read};

    fn of(texts: &[(&str, &str)]) -> Settings {
        let given = |setting: &table::Setting| {
            let of_setting = texts.iter().filter(|(name, _)| *name == setting.name);
            of_setting
                .map(|(name, text)| Given { origin: (*name).to_owned(), text: (*text).to_owned() })
                .collect()
        };
        read(given).settings
    }

    #[test]
    fn the_default_search_list_is_that_of_the_namespace() {
        let list_of = |texts: &[(&str, &str)]| of(texts).search_list();
        assert_eq!(list_of(&[]), Vec::<String>::new());
        assert_eq!(
            list_of(&[("namespace", "web"), ("cluster-domain", "a.b")]),
            ["web.svc.a.b", "svc.a.b", "a.b"]
        );
        assert_eq!(list_of(&[("namespace", "web"), ("search", "c.example")]), ["c.example"]);
        assert_eq!(list_of(&[("namespace", "web"), ("search", ".")]), Vec::<String>::new());
    }

    #[test]
    fn a_proxy_on_all_addresses_may_query_others_on_its_port() {
        let settings = of(&[("listen", "0.0.0.0,::")]);
        for (address, is_ours) in [
            ("127.0.0.53:53", true),
            ("[::1]:53", true),
            ("0.0.0.0:53", true),
            ("10.96.0.10:53", false),
            ("127.0.0.1:5353", false),
        ] {
            assert_eq!(settings.listens_on(address.parse().expect("an address")), is_ours, "{address}");
        }
    }

    #[test]
    fn a_request_alone_raises_the_computed_limit() {
        let settings = of(&[("memory-request", "100Mi")]);
        assert_eq!(settings.memory_limit().as_str(), "100Mi");
        let settings = of(&[("memory-limit", "14Mi"), ("cache-size", "6Mi")]);
        assert_eq!(settings.memory_request().as_str(), "14Mi");
    }
}
