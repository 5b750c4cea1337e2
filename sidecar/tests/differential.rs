//! A client finds the same directly and injected: models of clients search a zone with the pod's original
//! `ndots`, and with the injected one through the resolver in front of that zone.
//!
//! | clients | after NXDOMAIN of a candidate | after NODATA | a name with `ndots` dots or more |
//! |---|---|---|---|
//! | glibc, Go, Java, c-ares (`Goes on`) | the next one | the next one | as it stands first, then the search list |
//! | dig | the next one | the end | as it stands first, then the search list |
//! | musl | the next one | the end | as it stands only |
//!
//! Each name of the list exists in each set of places: below each domain of the search list where the DNS
//! specification for Kubernetes allows it, and outside as it stands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_dns::key::Key;
use podlocal_settings::Settings;
use podlocal_settings::value::LocalNxdomain;
use podlocal_sidecar::metrics::Metrics;
use podlocal_sidecar::query::Query;
use podlocal_sidecar::resolver::Resolver;
use podlocal_sidecar::upstream::{Failed, Upstream};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const SEARCH: [&str; 4] = ["web.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

/// Of one to six labels.
const NAMES: [&str; 16] = [
    "db",
    "db.prod",
    "example.com",
    "db.prod.svc",
    "redis-0.redis.dev",
    "rank-0.workers.web",
    "api.example.com",
    "_http._tcp.db",
    "rank-0.db.prod.svc",
    "a.api.example.com",
    "_http._tcp.db.prod",
    "_http._tcp.db.prod.svc",
    "a.b.c.example.com",
    "db.prod.svc.cluster.local",
    "_http._tcp.db.prod.svc.x",
    "a.b.c.d.example.com",
];

const TYPES: [RecordType; 8] = [
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::SRV,
    RecordType::A,
    RecordType::TXT,
    RecordType::MX,
    RecordType::PTR,
    RecordType::ANY,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    GoesOn,
    Dig,
    Musl,
}

/// What a client tells its program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Data(String),
    NoData,
    Missing,
}

#[test]
fn every_client_finds_the_same_directly_and_injected() {
    let mut compared = 0;
    for_every_lookup(&every_ndots(), |name, client, zone, pod| {
        for rtype in TYPES {
            let directly = search(client, name, pod.original, |name| zone.say(name, rtype));
            let through = search(client, name, pod.injected, |name| pod.ask(name, rtype));
            assert_eq!(through, directly, "{client:?} {name} {rtype} {}", pod.text);
            compared += 1;
        }
    });
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn no_address_lookup_sends_more_queries_than_directly() {
    let mut saved = 0;
    for_every_lookup(&USUAL, |name, client, zone, pod| {
        let count = |ndots, ask: &dyn Fn(&str, RecordType) -> Found| {
            zone.asked.store(0, Ordering::Relaxed);
            for rtype in [RecordType::A, RecordType::AAAA] {
                search(client, name, ndots, |name| ask(name, rtype));
            }
            zone.asked.load(Ordering::Relaxed)
        };
        let directly = count(pod.original, &|name, rtype| zone.say(name, rtype));
        let through = count(pod.injected, &|name, rtype| pod.ask(name, rtype));
        assert!(through <= directly, "{client:?} {name} {}: {through} > {directly}", pod.text);
        saved += directly - through;
    });
    assert!(saved > 1_000, "{saved}");
}

/// Original and injected `ndots`, and the setting for local answers of the proxy.
type Case = (u8, u8, LocalNxdomain);

/// The injected default.
const USUAL: [Case; 3] =
    [(5, 2, LocalNxdomain::Full), (5, 2, LocalNxdomain::Impossible), (5, 2, LocalNxdomain::Off)];

/// Every original `ndots` with every injected one that is not larger.
fn every_ndots() -> Vec<Case> {
    let injected = |original| (1..=original).map(move |injected| (original, injected, LocalNxdomain::Full));
    (1..=5).flat_map(injected).chain(USUAL).collect()
}

/// Calls `look` for every name, every set of places where it may exist, every case and every client; each
/// time with a resolver with an empty cache.
fn for_every_lookup(cases: &[Case], mut look: impl FnMut(&str, Client, &Zone, &Pod)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (runtime, metrics) = (runtime.expect("a runtime"), Metrics::new().0);
    for name in NAMES {
        let below = SEARCH.iter().map(|domain| format!("{name}.{domain}")).filter(|name| may_exist(name));
        let places: Vec<_> = below.chain([name.to_owned()]).collect();
        for chosen in 0..1 << places.len() {
            let is_chosen = |(index, _): &(usize, &String)| chosen & 1 << index != 0;
            let names = places.iter().enumerate().filter(is_chosen).map(|(_, name)| name.clone());
            let zone = Zone::of(names.collect());
            for case in cases {
                for client in [Client::GoesOn, Client::Dig, Client::Musl] {
                    look(name, client, &zone, &Pod::new(&zone, *case, &runtime, &metrics));
                }
            }
        }
    }
}

/// Whether the DNS specification for Kubernetes, version 1.1, allows such a name.
fn may_exist(name: &str) -> bool {
    let Some(labels) = name.strip_suffix(".cluster.local") else {
        // The proxy does not expand names of the cluster by domains outside it.
        return !name.contains(".cluster.local.");
    };
    let labels: Vec<_> = labels.split('.').collect();
    match labels[..] {
        [service, _, "svc"] | [_, service, _, "svc"] | [_, "_tcp", service, _, "svc"] => {
            !service.starts_with('_')
        }
        _ => false,
    }
}

/// Searches like a client (resolv.conf(5)).
fn search(client: Client, name: &str, ndots: u8, ask: impl Fn(&str) -> Found) -> Found {
    let is_first = name.matches('.').count() >= usize::from(ndots);
    let mut ladder: Vec<_> = SEARCH.iter().map(|domain| format!("{name}.{domain}")).collect();
    if is_first && client == Client::Musl {
        ladder.clear();
    }
    ladder.insert(if is_first { 0 } else { ladder.len() }, name.to_owned());
    let mut told = Found::Missing;
    for candidate in ladder {
        match ask(&candidate) {
            Found::Missing => {}
            Found::NoData if client == Client::GoesOn => told = Found::NoData,
            found => return found,
        }
    }
    told
}

/// Cluster DNS: the names that exist, and the namespaces and Services above them.
#[derive(Debug, Clone)]
struct Zone {
    names: BTreeSet<String>,
    above: BTreeSet<String>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    fn of(names: BTreeSet<String>) -> Self {
        let mut above = BTreeSet::from(["svc.cluster.local".to_owned(), "web.svc.cluster.local".to_owned()]);
        for name in names.iter().filter(|name| name.ends_with(".svc.cluster.local")) {
            let labels: Vec<_> = name.split('.').collect();
            above.extend([4, 5].map(|count| labels[labels.len().saturating_sub(count)..].join(".")));
        }
        Self { names, above, asked: Arc::default() }
    }

    /// Every name has the same types, so that glibc, which continues after NODATA, and clients that stop
    /// there find the same.
    fn say(&self, name: &str, rtype: RecordType) -> Found {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.names.contains(name) && data(name, rtype).is_some() {
            Found::Data(name.to_owned())
        } else if self.names.contains(name) || self.above.contains(name) {
            Found::NoData
        } else {
            Found::Missing
        }
    }
}

/// Data of that type; none for AAAA and HTTPS.
fn data(owner: &str, rtype: RecordType) -> Option<RData> {
    let name = Name::from_ascii(format!("{owner}.")).expect("a name");
    match rtype {
        RecordType::SRV => Some(RData::SRV(SRV::new(0, 100, 80, name))),
        RecordType::MX => Some(RData::MX(MX::new(10, name))),
        RecordType::PTR => Some(RData::PTR(PTR(name))),
        RecordType::TXT | RecordType::ANY => Some(RData::TXT(TXT::new(vec![owner.to_owned()]))),
        RecordType::A => Some(RData::A(A::new(203, 0, 113, 1))),
        _ => None,
    }
}

impl Upstream for Zone {
    async fn ask(&self, key: &Key, _deadline: Instant) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(key.question());
        let mut message = Message::from_vec(&bytes).expect("a question decodes");
        let (name, rtype) = (message.queries[0].name().clone(), message.queries[0].query_type());
        let said = self.say(name.to_string().trim_end_matches('.'), rtype);
        if let Found::Data(owner) = &said {
            message.insert_answers(vec![Record::from_rdata(name, 60, data(owner, rtype).expect("data"))]);
        } else {
            let zone = Name::from_ascii("cluster.local.").expect("a name");
            let soa = RData::SOA(SOA::new(zone.clone(), zone.clone(), 1, 7200, 1800, 86400, 30));
            message.insert_authorities(vec![Record::from_rdata(zone, 30, soa)]);
        }
        if said == Found::Missing {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        Ok(message.to_vec().expect("encodes"))
    }
}

/// A pod with the resolver in front of the zone.
struct Pod<'a> {
    original: u8,
    injected: u8,
    resolver: Arc<Resolver<Zone>>,
    runtime: &'a Runtime,
    /// For messages.
    text: String,
}

impl<'a> Pod<'a> {
    fn new(zone: &Zone, case: Case, runtime: &'a Runtime, metrics: &Metrics) -> Self {
        let (original, injected, local_nxdomain) = case;
        let settings = Settings {
            ndots: injected,
            original_ndots: original,
            namespace: Some("web".to_owned()),
            search: Some(SEARCH.map(str::to_owned).to_vec()),
            completion_domains: vec!["corp.example".to_owned()],
            local_nxdomain,
            cache_size: 64 << 10,
            ..Settings::defaults()
        };
        let resolver = Resolver::new(&settings, 1, zone.clone(), metrics.clone());
        Self { original, injected, resolver, runtime, text: format!("{case:?}, {:?}", zone.names) }
    }

    fn ask(&self, name: &str, rtype: RecordType) -> Found {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(Name::from_ascii(name).expect("a name"), rtype));
        let bytes = message.to_vec().expect("encodes");
        let query = Query::parse(&bytes).expect("a query");
        let mut out = Vec::new();
        self.runtime.block_on(async {
            let now = Instant::now().into_std();
            if self.resolver.try_hit(&query, now, 4096, &mut out).is_err() {
                let resolution = self.resolver.resolve_miss(&Arc::new(query.key.clone())).await;
                resolution.write(query.client(), 4096, &mut out);
            }
            // Queries after the answer count, too.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        let answer = Message::from_vec(&out).expect("decodes");
        let last = answer.answers.iter().rfind(|record| record.record_type() != RecordType::CNAME);
        match (answer.metadata.response_code, last.map(|record| record.name.to_string())) {
            (ResponseCode::NoError, Some(owner)) => Found::Data(owner.trim_end_matches('.').to_owned()),
            (ResponseCode::NoError, None) => Found::NoData,
            (ResponseCode::NXDomain, _) => Found::Missing,
            (other, _) => panic!("{name} {rtype}: {other}"),
        }
    }
}
