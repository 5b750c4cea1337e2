//! The contract between the webhook, which writes settings into pods, and the sidecar, which reads them.
//!
//! ```text
//!   table     what settings there are: name, default, bounds, sentence, where each may be given
//!   read      texts from flags, variables, annotations or a file -> [`Settings`], and every mistake at once
//!   write     what was given -> the sidecar's environment
//!   value     one strict parser per kind of value
//!   page      the table as the page in the docs
//!   program   what `--help`, man page and completions of a program are made of
//!   names     the fixed names that both programs need: labels, the container, paths, ids
//! ```
//!
//! This crate knows neither DNS packets nor Kubernetes. No other crate spells the name of a setting.

pub mod names;
pub mod page;
pub mod program;
pub mod read;
pub mod table;
pub mod value;
pub mod write;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use value::{
    AllowedSources, ForwardZone, LocalNxdomain, LogLevel, Quantity, Role, UpstreamTransport, Workers,
};

/// All settings as typed values; the table ([`table::TABLE`]) says what each means, its default and its bounds.
///
/// Made by [`read::read`]. Both programs read the same struct; each uses the fields that concern it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is the setting of that name")]
pub struct Settings {
    /// Whom the proxy serves; every other default follows from it.
    pub role: Role,
    /// Where the proxy serves DNS, UDP and TCP alike.
    pub listen: Vec<SocketAddr>,
    /// The DNS servers that are asked; empty: those of `/etc/resolv.conf`, or the cluster's.
    pub upstream: Vec<SocketAddr>,
    /// The cluster domain, lower case, without the final dot.
    pub cluster_domain: String,
    /// The pod's namespace, when it is known.
    pub namespace: Option<String>,
    /// The pod's search list, in order; `None`: what the namespace gives ([`Settings::search_list`]).
    pub search: Option<Vec<String>>,
    /// The domains of the search list outside the cluster domain that the proxy tries itself.
    pub completion_domains: Vec<String>,
    /// What is decided without asking about names inside the cluster domain.
    pub local_nxdomain: LocalNxdomain,
    /// Names that are resolved at the start and kept fresh.
    pub prefetch_names: Vec<String>,
    /// Names, or `*.` and a suffix, whose absence is waited out.
    pub wait_for_names: Vec<String>,
    /// How long it is waited out.
    pub wait_timeout: Duration,
    /// How long `await` holds the pod's other containers back, at most.
    pub ready_timeout: Duration,
    /// The bound of the cache, in bytes of memory.
    pub cache_size: u64,
    /// The shortest time that a positive answer is kept.
    pub min_ttl: Duration,
    /// The longest time that a positive answer is kept.
    pub max_ttl: Duration,
    /// The longest time that a negative answer is kept; inside the cluster domain never above 5 s.
    pub max_negative_ttl: Duration,
    /// How long an expired answer may be given when the upstream fails; zero: not at all.
    pub serve_stale: Duration,
    /// Whether popular answers are refreshed before they expire.
    pub refresh_ahead: bool,
    /// The servers that are asked while the upstream is silent or refuses, and may know other names; empty: none.
    pub backup_upstream: Vec<SocketAddr>,
    /// Zones that are asked of servers of their own; empty: none.
    pub forward_zones: Vec<ForwardZone>,
    /// Which transports the upstream and the servers of forward zones are asked by.
    pub upstream_transport: UpstreamTransport,
    /// The shared tier, which is asked before the upstream; empty: none.
    pub shared_tier: Vec<SocketAddr>,
    /// Whether a pod's proxy is told of the shared tier that the webhook finds.
    pub use_shared_tier: bool,
    /// The port of `/livez`, `/readyz` and `/metrics`; 0: any free port.
    pub admin_port: u16,
    /// What is logged.
    pub log_level: LogLevel,
    /// Whether each query is logged.
    pub query_log: bool,
    /// The `ndots` option of the injected pod's `resolv.conf`, from which the proxy knows which names are not expanded.
    pub ndots: u8,
    /// The `ndots` option that the pod would have without the proxy.
    pub original_ndots: u8,
    /// Whether the cluster DNS stands as second nameserver in the pod's `resolv.conf`.
    pub fallback_nameserver: bool,
    /// The sidecar's image; `None`: the webhook's own default.
    pub image: Option<String>,
    /// The sidecar's CPU request.
    pub cpu_request: Quantity,
    /// The sidecar's CPU limit; `None`: none, where the pod does not need one.
    pub cpu_limit: Option<Quantity>,
    /// The sidecar's memory request; `None`: computed from the size of the cache.
    pub memory_request: Option<Quantity>,
    /// The sidecar's memory limit; `None`: computed from the size of the cache.
    pub memory_limit: Option<Quantity>,
    /// How many threads serve.
    pub workers: Workers,
    /// Who is answered.
    pub allowed_sources: AllowedSources,
    /// The largest answer by UDP, in bytes.
    pub max_udp_size: usize,
    /// How long everything is still answered after SIGTERM, before the drain.
    pub lame_duck: Duration,
    /// Questions under way to the upstream.
    pub max_in_flight: usize,
    /// Queries that wait.
    pub max_waiters: usize,
    /// Queries that wait for the same question.
    pub max_waiters_per_query: usize,
    /// TCP connections of clients.
    pub max_tcp_connections: usize,
    /// TCP connections of one address; 0: no limit of its own.
    pub max_tcp_connections_per_source: u32,
    /// Queries of one address that wait; 0: no limit of its own.
    pub max_misses_per_source: u32,
    /// Queries of one address, a second, that are not in the cache; 0: no limit.
    pub max_miss_rate_per_source: u32,
}

impl Settings {
    /// All defaults.
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

    /// The domains that the proxy tries itself for names that the client no longer expands, in the order of the search list.
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

    /// Whether whoever asks that address asks us: we listen on it, or it is that of no host, which the kernel takes for the
    /// loopback.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        is_own(&self.listen, address)
    }

    /// Whether that address is one that we listen on. Who listens on every address has a loopback; which other addresses
    /// are its own is not known here, and a loop through them is found when it happens.
    pub fn listens_on(&self, address: SocketAddr) -> bool {
        listens_on(&self.listen, address)
    }
}

/// [`Settings::is_own`] of who listens there.
fn is_own(listen: &[SocketAddr], address: SocketAddr) -> bool {
    listens_on(listen, address) || address.ip().to_canonical().is_unspecified()
}

/// An IPv4 address that is written as an IPv6 one (RFC 4291 section 2.5.5.2) is the IPv4 address: the kernel sends there.
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
    fn the_proxy_tries_domains_of_the_cluster_and_those_that_are_asked_for() {
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
    fn the_search_list_is_the_namespaces_unless_one_is_given() {
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
    fn who_listens_everywhere_may_ask_others_on_the_same_port() {
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
