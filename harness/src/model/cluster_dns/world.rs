//! The names that can be resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_proto::rr::rdata::{CNAME, NULL, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

/// The TTL of the cluster's names in kubeadm's Corefile, in seconds; also of negative answers. The plugin's
/// default is 5.
pub(super) const TTL: u32 = 30;

/// The names of a cluster, and outside names.
#[derive(Debug, Clone)]
pub struct World {
    /// The cluster domain.
    pub(super) zone: Name,
    /// The addresses of cluster DNS itself: `ns.dns.<zone>`.
    pub(super) dns: Vec<IpAddr>,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) services: Vec<Service>,
    /// Records outside the cluster, by lower-case name with the final dot.
    pub(super) outside: BTreeMap<String, Vec<(RData, u32)>>,
    /// Zones outside the cluster, and the TTL of their negative answers, in seconds.
    pub(super) outside_zones: Vec<(Name, u32)>,
}

/// A Service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) name: String,
    pub(super) namespace: String,
    /// None: a headless Service.
    pub(super) cluster_ips: Vec<IpAddr>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) external_name: Option<String>,
    pub(super) ports: Vec<Port>,
}

/// A ready address behind a Service.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The pod's `hostname`, if it has a `hostname` and a `subdomain`.
    pub(super) hostname: Option<String>,
    /// The pod's address.
    pub(super) address: IpAddr,
}

/// A port of a Service.
#[derive(Debug, Clone)]
pub(super) struct Port {
    /// `https`
    pub(super) name: String,
    /// `tcp`, `udp` or `sctp`
    pub(super) protocol: String,
    /// 443
    pub(super) number: u16,
}

impl Service {
    /// A Service with a cluster IP.
    pub fn cluster_ip(name: &str, namespace: &str, address: &str) -> Self {
        Self { cluster_ips: vec![ip(address)], ..Self::headless(name, namespace) }
    }

    /// A headless Service; without endpoints its name does not exist.
    pub fn headless(name: &str, namespace: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            cluster_ips: Vec::new(),
            endpoints: Vec::new(),
            external_name: None,
            ports: Vec::new(),
        }
    }

    /// An ExternalName Service, which is answered with a CNAME.
    pub fn external_name(name: &str, namespace: &str, target: &str) -> Self {
        Self { external_name: Some(target.to_owned()), ..Self::headless(name, namespace) }
    }

    /// The labels of its name in the cluster domain.
    pub(super) fn labels(&self) -> Vec<String> {
        vec![self.name.clone(), self.namespace.clone(), "svc".to_owned()]
    }

    /// Adds a cluster IP; a dual-stack Service has two.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.cluster_ips.push(ip(address));
        self
    }

    /// Adds a ready endpoint.
    #[must_use]
    pub fn endpoint(mut self, hostname: Option<&str>, address: &str) -> Self {
        self.endpoints.push(Endpoint { hostname: hostname.map(str::to_owned), address: ip(address) });
        self
    }

    /// Adds a named port.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: &str, number: u16) -> Self {
        self.ports.push(Port { name: name.to_owned(), protocol: protocol.to_owned(), number });
        self
    }
}

impl World {
    /// A cluster without Services and without outside names.
    pub fn empty(zone: &str) -> Self {
        Self {
            zone: name(zone),
            dns: vec![ip("10.96.0.10")],
            namespaces: BTreeSet::new(),
            services: Vec::new(),
            outside: BTreeMap::new(),
            outside_zones: vec![(Name::root(), 900)],
        }
    }

    /// The world of the tests and of the experiment:
    ///
    /// | in the cluster | |
    /// |---|---|
    /// | `kubernetes.default`, `kube-dns.kube-system` | as in every cluster |
    /// | `web.default`, `db.prod` | Services with an address; `web` has one of each family |
    /// | `peers.default` | headless, with `rank-0`, `rank-1` and one endpoint without a hostname |
    /// | `nobody.default` | headless, no endpoint ready: does not exist |
    /// | `store.default` | ExternalName `db.example.com` |
    ///
    /// | outside | |
    /// |---|---|
    /// | `www.example.com` | A and AAAA |
    /// | `api.example.com`, `db.example.com` | A only |
    /// | `v6.example.com` | AAAA only |
    /// | `alias.example.com` | a chain of two CNAMEs to `www.example.com` |
    /// | `big.example.com` | a TXT of 4 kB; 40 A records |
    /// | `raw.example.com` | TYPE65280, of private use: 32 bytes that mean nothing |
    pub fn example() -> Self {
        let v4 = |host| ip(&format!("203.0.113.{host}"));
        let v6 = |host| ip(&format!("2001:db8::{host}"));
        let cname = |target| RData::CNAME(CNAME(name(target)));
        let mut world = Self::empty("cluster.local")
            .service(Service::cluster_ip("kubernetes", "default", "10.96.0.1").port("https", "tcp", 443))
            .service(
                Service::cluster_ip("kube-dns", "kube-system", "10.96.0.10")
                    .port("dns", "udp", 53)
                    .port("dns-tcp", "tcp", 53),
            )
            .service(
                Service::cluster_ip("web", "default", "10.96.7.7")
                    .address("fd00:96::7")
                    .port("http", "tcp", 80)
                    .endpoint(None, "10.244.1.7"),
            )
            .service(Service::cluster_ip("db", "prod", "10.96.8.8").port("sql", "tcp", 5432))
            .service(
                Service::headless("peers", "default")
                    .port("mpi", "tcp", 2222)
                    .endpoint(Some("rank-0"), "10.244.1.10")
                    .endpoint(Some("rank-1"), "10.244.1.11")
                    .endpoint(None, "10.244.1.12"),
            )
            .service(Service::headless("nobody", "default").port("mpi", "tcp", 2222))
            .service(Service::external_name("store", "default", "db.example.com"))
            .outside_zone("com", 900)
            .outside_zone("example.com", 300)
            .outside("www.example.com", 300, v4(1))
            .outside("www.example.com", 300, v6(1))
            .outside("api.example.com", 60, v4(2))
            .outside("db.example.com", 60, v4(3))
            .outside("v6.example.com", 60, v6(4))
            .outside("alias.example.com", 60, cname("cdn.example.com"))
            .outside("cdn.example.com", 20, cname("www.example.com"))
            .outside("big.example.com", 60, text(4096))
            .outside("raw.example.com", 60, raw(65280, (0..32).collect()));
        for number in 10..50 {
            world = world.outside("big.example.com", 60, v4(number));
        }
        world
    }

    /// The cluster domain, without the final dot.
    pub fn zone_name(&self) -> String {
        self.zone.to_ascii().trim_end_matches('.').to_owned()
    }

    /// Sets the address of cluster DNS itself.
    #[must_use]
    pub fn dns_address(mut self, address: IpAddr) -> Self {
        self.dns = vec![address];
        self
    }

    /// Adds a namespace; one with a Service in it need not be added.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespaces.insert(name.to_owned());
        self
    }

    /// Adds a Service, or replaces the one with the same name.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.namespaces.insert(service.namespace.clone());
        self.services.retain(|other| (&other.name, &other.namespace) != (&service.name, &service.namespace));
        self.services.push(service);
        self
    }

    /// Adds a record outside the cluster, with its TTL in seconds.
    #[must_use]
    pub fn outside(mut self, owner: &str, ttl: u32, data: impl Into<RData>) -> Self {
        self.outside.entry(name(owner).to_lowercase().to_ascii()).or_default().push((data.into(), ttl));
        self
    }

    /// Adds a zone outside the cluster, with the negative TTL of its SOA in seconds. For names in no zone the
    /// root sends the negative answer.
    #[must_use]
    pub fn outside_zone(mut self, zone: &str, negative_ttl: u32) -> Self {
        self.outside_zones.push((name(zone), negative_ttl));
        self
    }
}

impl Endpoint {
    /// The label of the endpoint: its hostname, otherwise its address with dashes.
    pub(super) fn label(&self) -> String {
        let dashed = || self.address.to_string().replace(['.', ':'], "-");
        self.hostname.clone().unwrap_or_else(dashed)
    }
}

/// A TXT record of about this many bytes, in strings of 250.
fn text(bytes: usize) -> RData {
    RData::TXT(TXT::new((0..bytes / 251).map(|number| format!("{number:0>250}")).collect()))
}

/// A record of an unknown type (RFC 3597).
fn raw(record_type: u16, data: Vec<u8>) -> RData {
    RData::Unknown { code: RecordType::from(record_type), rdata: NULL::with(data) }
}

/// Parses an absolute name. Worlds are constants in tests, so an invalid name is a defect of the test.
#[expect(clippy::panic, reason = "an invalid constant is a defect of the test")]
fn name(text: &str) -> Name {
    let mut name =
        Name::from_ascii(text).unwrap_or_else(|error| panic!("{text:?} is not a domain name: {error}"));
    name.set_fqdn(true);
    name
}

#[expect(clippy::panic, reason = "an invalid constant is a defect of the test")]
fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text:?} is not an IP address: {error}"))
}
