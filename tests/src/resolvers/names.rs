//! The names and types of the differential test, and the world that has them.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, HTTPS, MX, PTR, SRV, SVCB, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use podlocal_harness::model::cluster_dns::{Service, World};

/// The search list of each pod: that of the cluster, and one more domain.
pub(super) const SEARCH: [&str; 4] =
    ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

/// Names of one to six labels: in the cluster, in the search list, outside, in several of these, or nowhere.
pub(super) const NAMES: &str = "\
    web store dk wiki missing db.prod DB.Prod. rank-0.peers 10-244-1-12.peers example.org wiki.eu both.prod \
    missing.prod missing.nowhere db.prod.svc DB.Prod.svc. rank-0.workers.ml redis-0.redis.dev \
    redis-0.redis.dev. 10-244-1-12.default.pod _http._tcp.web www.example.org www.google.dev \
    _mpi._tcp.workers www.example.com v6.example.com alias.example.com a.wiki.eu missing.prod.svc \
    missing.example.org _http._tcp.missing rank-0.workers.ml.svc redis-0.redis.dev.svc _sql._tcp.db.prod \
    a.www.example.org a.b.wiki.eu svc.cluster.local a.missing.prod.svc a.missing.example.org \
    _sql._tcp.db.prod.svc db.prod.svc.cluster.local both.prod.svc.cluster.local a.b.www.example.org \
    a.b.c.wiki.eu missing.prod.svc.cluster.local a.b.missing.example.org rank-0.workers.ml.svc.cluster.local \
    _sql._tcp.db.prod.svc.x 8.8.96.10.in-addr.arpa 1.2.0.192.in-addr.arpa a.b.c.www.example.org \
    a.b.c.d.wiki.eu a.b.c.missing.example.org";

/// Outside names with records of every type.
const OUTSIDE: &str = "\
    dk example.org www.example.org a.www.example.org a.b.www.example.org a.b.c.www.example.org both.prod \
    redis-0.redis.dev www.google.dev wiki.corp.example wiki.eu.corp.example a.wiki.eu.corp.example \
    a.b.wiki.eu.corp.example a.b.c.wiki.eu.corp.example a.b.c.d.wiki.eu.corp.example";

/// Addresses of a Service, of a pod, of an outside name, and of no name. The address of the pod is not one
/// that pods of the tests get, because a pod finds its own address in `/etc/hosts`.
pub(super) const ADDRESSES: [&str; 4] = ["10.96.8.8", "10.244.200.10", "203.0.113.1", "192.0.2.1"];

pub(super) const TYPES: [RecordType; 8] = {
    use RecordType::{A, AAAA, ANY, HTTPS, MX, PTR, SRV, TXT};
    [A, AAAA, SRV, TXT, MX, PTR, HTTPS, ANY]
};

/// The example world, with additional names that have records of every type.
pub fn world() -> World {
    let pods = |name, namespace, host, address| {
        Service::headless(name, namespace).port("mpi", "tcp", 2222).endpoint(Some(host), address)
    };
    let world = World::example()
        .service(pods("workers", "ml", "rank-0", "10.244.200.10"))
        .service(pods("redis", "dev", "redis-0", "10.244.200.20"))
        .service(Service::cluster_ip("both", "prod", "10.96.9.9").port("sql", "tcp", 5432))
        .outside("1.113.0.203.in-addr.arpa", 60, RData::PTR(PTR(name("www.example.com"))));
    OUTSIDE.split(' ').zip(1..).fold(world, |world, (owner, number)| {
        of_every_type(owner, number).into_iter().fold(world, |world, data| world.outside(owner, 60, data))
    })
}

fn of_every_type(owner: &str, number: u8) -> [RData; 7] {
    let target = name(owner);
    [
        RData::A(A(Ipv4Addr::new(198, 51, 100, number))),
        RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, number.into()))),
        RData::SRV(SRV::new(0, 100, 80, target.clone())),
        RData::TXT(TXT::new(vec![owner.to_owned()])),
        RData::MX(MX::new(10, target.clone())),
        RData::PTR(PTR(target.clone())),
        RData::HTTPS(HTTPS(SVCB::new(1, target, Vec::new()))),
    ]
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap_or_default();
    name.set_fqdn(true);
    name
}
