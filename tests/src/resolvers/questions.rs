//! The questions for every client.

use std::net::Ipv4Addr;

use hickory_proto::rr::RecordType;
use podlocal_harness::model::cluster_dns::World;

/// The kind of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The addresses of a name, of both families.
    Address,
    /// The name of an address.
    Reverse,
    /// Ports and targets of a service.
    Srv,
    /// The TXT records of a name.
    Txt,
    /// The data of all records with this type.
    Type(RecordType),
}

impl Kind {
    /// The argument for the clients of this repository.
    pub fn word(self) -> String {
        match self {
            Self::Address => "address".to_owned(),
            Self::Reverse => "reverse".to_owned(),
            Self::Srv => "srv".to_owned(),
            Self::Txt => "txt".to_owned(),
            Self::Type(rtype) => rtype.to_string().to_lowercase(),
        }
    }
}

/// A question, asked in a pod of the namespace `default`.
#[derive(Debug, Clone)]
pub struct Question {
    /// A description of the case.
    pub about: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The name or address.
    pub name: &'static str,
    /// The correct answer, in the form of [`super::answers::Answer`]; empty when the name does not exist.
    pub expected: Vec<String>,
}

/// The number of addresses of `huge.example.com`: 16 bytes each, and more than 4 kB in total.
const HUGE: u16 = 300;

/// The world of the tests, with a name whose addresses do not fit into 4 kB.
pub fn world() -> World {
    (0..HUGE)
        .fold(World::example(), |world, number| world.outside("huge.example.com", 60, huge_address(number)))
}

fn huge_address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// All questions.
pub fn questions() -> Vec<Question> {
    let ask = |about, kind, name, expected: &[&str]| {
        let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        expected.sort();
        Question { about, kind, name, expected }
    };
    let big: Vec<String> = (10..50).map(|last| format!("203.0.113.{last}")).collect();
    let huge: Vec<String> = (0..HUGE).map(|number| huge_address(number).to_string()).collect();
    let text = (0..16).map(|number| format!("{number:0>250}")).collect::<Vec<_>>().concat();
    let of = |list: &[String], about, kind, name| {
        ask(about, kind, name, &list.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let address = Kind::Address;
    vec![
        ask("Service", address, "web", &["10.96.7.7", "fd00:96::7"]),
        ask("Service and namespace", address, "db.prod", &["10.96.8.8"]),
        ask("the same with svc", address, "db.prod.svc", &["10.96.8.8"]),
        ask("full name", address, "db.prod.svc.cluster.local", &["10.96.8.8"]),
        ask("full name, final dot", address, "db.prod.svc.cluster.local.", &["10.96.8.8"]),
        ask("pod of a headless Service", address, "rank-0.peers", &["10.244.1.10"]),
        ask("the same, full name", address, "rank-0.peers.default.svc.cluster.local", &["10.244.1.10"]),
        ask("outside", address, "www.example.com", &["203.0.113.1", "2001:db8::1"]),
        ask("outside, final dot", address, "www.example.com.", &["203.0.113.1", "2001:db8::1"]),
        ask("outside, IPv4 only", address, "api.example.com", &["203.0.113.2"]),
        ask("outside, IPv6 only", address, "v6.example.com", &["2001:db8::4"]),
        ask("outside, two CNAMEs", address, "alias.example.com", &["203.0.113.1", "2001:db8::1"]),
        ask("outside, does not exist", address, "missing.example.com", &[]),
        ask("no dot, does not exist", address, "missing", &[]),
        of(&big, "more than 512 bytes", address, "big.example.com"),
        of(&huge, "more than 4 kB", address, "huge.example.com"),
        of(&[text], "TXT of 4 kB", Kind::Txt, "big.example.com"),
        ask(
            "SRV",
            Kind::Srv,
            "_mpi._tcp.peers.default.svc.cluster.local",
            &[
                "2222 rank-0.peers.default.svc.cluster.local",
                "2222 rank-1.peers.default.svc.cluster.local",
                "2222 10-244-1-12.peers.default.svc.cluster.local",
            ],
        ),
        ask("PTR", Kind::Reverse, "10.96.8.8", &["db.prod.svc.cluster.local"]),
    ]
}
