//! The contract between the webhook, which writes settings into pods, and the sidecar, which reads them.
//!
//! ```text
//!   table     every setting: field, parser, name, default, bounds, sentence, where it may be given
//!   read      texts from flags, variables, annotations or a file -> [`Settings`], and all errors together
//!   write     the given settings -> the environment of the sidecar
//!   value     one strict parser for each kind of value
//!   page      the table as lines of a help text, and as the table of a page in the docs
//!   names     fixed names that several programs use: labels, the container, paths, ids
//! ```
//!
//! This crate depends neither on DNS packets nor on Kubernetes. No other crate contains the name of a
//! setting.

pub mod names;
pub mod page;
pub mod read;
mod setting_error;
pub mod table;
pub mod value;
pub mod write;

use std::net::{IpAddr, SocketAddr};

pub use table::Settings;
use value::Quantity;

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
        let zone = &*self.cluster_domain;
        match (&self.search, &self.namespace) {
            (Some(search), _) => search.clone(),
            (None, Some(namespace)) => {
                vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.to_owned()]
            }
            (None, None) => Vec::new(),
        }
    }

    /// The domains that the proxy tries itself for names that the client no longer expands, in the order of
    /// the search list.
    pub fn completion_list(&self) -> Vec<String> {
        let is_tried = |domain: &String| {
            value::is_inside(domain, &self.cluster_domain) || self.completion_domains.contains(domain)
        };
        let mut list = self.search_list();
        list.retain(is_tried);
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

    fn of(texts: &[(&str, &str)]) -> Settings {
        read::read(read::tests::given(texts)).settings
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
