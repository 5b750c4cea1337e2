//! A query and a world -> the response that CoreDNS would send.
//!
//! Follows CoreDNS's plugin/kubernetes (parse.go, kubernetes.go, handler.go, reverse.go) and
//! plugin/backend_lookup.go, with kubeadm's Corefile: reverse zones are served, and names that are not in
//! them fall through to the outside names. Two differences help tests that compare answers: addresses keep
//! their order (kubeadm's `loadbalance` rotates them), and outside names keep their TTL (`cache 30` shortens
//! it).

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::outside;
use super::sections::Answer;
use super::services::{Request, Target, find, owners_of, parse, pod};
use super::world::World;

/// The TXT record of `dns-version.<zone>`: the version of the specification, and the TTL.
const SPECIFICATION: (&str, u32) = ("1.1.0", 28800);

/// The complete response to a query; [`truncate`] limits its size.
pub fn answer(world: &World, query: &Message) -> Message {
    let mut response = Message::query();
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.queries.clone_from(&query.queries);
    // CoreDNS returns the client's OPT record without its options.
    response.edns = query.edns.as_ref().map(|edns| {
        let mut own = Edns::new();
        own.set_max_payload(edns.max_payload()).set_dnssec_ok(edns.flags().dnssec_ok);
        own
    });
    match query.queries.first() {
        Some(question) => in_world(world, question).write(&mut response),
        None => response.metadata.response_code = ResponseCode::FormErr,
    }
    response
}

/// Removes records from the end until the response fits, and then sets TC: `Truncate` of miekg/dns.
pub fn truncate(response: &mut Message, most_bytes: usize) {
    while response.to_vec().is_ok_and(|bytes| bytes.len() > most_bytes) {
        let dropped = response
            .additionals
            .pop()
            .or_else(|| response.authorities.pop())
            .or_else(|| response.answers.pop());
        response.metadata.truncation = true;
        if dropped.is_none() {
            return;
        }
    }
}

fn in_world(world: &World, question: &Query) -> Answer {
    let name = question.name().to_lowercase();
    if world.zone.zone_of(&name) {
        return in_cluster(world, question, &name);
    }
    if question.query_type() == RecordType::PTR
        && let Some(answer) = reverse(world, question, &name)
    {
        return answer;
    }
    outside::answer(world, question)
}

/// The result for a name: it exists and has these records of the type (none: NODATA), or it does not exist.
enum Found {
    Records { answers: Vec<Record>, additionals: Vec<Record> },
    NameError,
}

fn in_cluster(world: &World, question: &Query, name: &Name) -> Answer {
    let left = labels_left_of(name, &world.zone);
    match look_up(world, question, &left.iter().map(String::as_str).collect::<Vec<_>>()) {
        Found::Records { answers, additionals } if !answers.is_empty() => {
            Answer { authoritative: true, answers, additionals, ..Answer::default() }
        }
        negative => Answer {
            code: matches!(negative, Found::NameError).then_some(ResponseCode::NXDomain),
            authoritative: true,
            authorities: vec![soa(world)],
            ..Answer::default()
        },
    }
}

fn look_up(world: &World, question: &Query, left: &[&str]) -> Found {
    let nodata = || Found::Records { answers: Vec::new(), additionals: Vec::new() };
    let record = |data| Record::from_rdata(question.name().clone(), world.ttl, data);
    match (question.query_type(), left) {
        (RecordType::TXT, ["dns-version"]) => {
            let text = RData::TXT(TXT::new(vec![SPECIFICATION.0.to_owned()]));
            let record = Record::from_rdata(question.name().clone(), SPECIFICATION.1, text);
            Found::Records { answers: vec![record], additionals: Vec::new() }
        }
        // TXT is not looked up among Services at all, so RFC 8020 does not hold here.
        (RecordType::TXT, [_]) => Found::NameError,
        (RecordType::TXT, _) => nodata(),
        (RecordType::SOA, []) => Found::Records { answers: vec![soa(world)], additionals: Vec::new() },
        (RecordType::NS, []) => {
            let server = name_server(world);
            let additionals =
                world.dns.iter().map(|&ip| Record::from_rdata(server.clone(), world.ttl, address(ip)));
            Found::Records {
                answers: vec![record(RData::NS(NS(server.clone())))],
                additionals: additionals.collect(),
            }
        }
        (record_type, ["ns", "dns"]) => {
            let addresses = world.dns.iter().copied().map(address);
            let matching = addresses.filter(|data| data.record_type() == record_type);
            Found::Records { answers: matching.map(record).collect(), additionals: Vec::new() }
        }
        (record_type, _) => match parse(left) {
            Request::Exists => nodata(),
            Request::Invalid => Found::NameError,
            Request::Pod { namespace, name } => match pod(world, namespace, name) {
                Some(ip) => {
                    let matching = ip.map(address).filter(|data| data.record_type() == record_type);
                    Found::Records {
                        answers: matching.map(record).into_iter().collect(),
                        additionals: Vec::new(),
                    }
                }
                None => Found::NameError,
            },
            Request::Service { namespace, name, part } => match find(world, namespace, name, &part) {
                Some(targets) => targets_of_type(world, question, &targets),
                None => Found::NameError,
            },
        },
    }
}

fn targets_of_type(world: &World, question: &Query, targets: &[Target<'_>]) -> Found {
    let (mut answers, mut additionals): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
    let add = |records: &mut Vec<Record>, name: &Name, data: RData| {
        let record = Record::from_rdata(name.clone(), world.ttl, data);
        if !records.contains(&record) {
            records.push(record);
        }
    };
    // backend_lookup.go divides a weight of 100 among the targets.
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
    for target in targets {
        match (target, question.query_type()) {
            (Target::Address { ip: IpAddr::V4(ip), .. }, RecordType::A) => {
                add(&mut answers, question.name(), RData::A(A(*ip)));
            }
            (Target::Address { ip: IpAddr::V6(ip), .. }, RecordType::AAAA) => {
                add(&mut answers, question.name(), RData::AAAA(AAAA(*ip)));
            }
            (Target::Address { ip, port: Some(port), owner }, RecordType::SRV) => {
                let owner = in_zone(owner, &world.zone);
                let data = RData::SRV(SRV::new(0, weight, port.number, owner.clone()));
                add(&mut answers, question.name(), data);
                add(&mut additionals, &owner, address(*ip));
            }
            (Target::Alias(target), RecordType::A | RecordType::AAAA | RecordType::CNAME) => {
                let Ok(target) = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) else {
                    continue;
                };
                add(&mut answers, question.name(), RData::CNAME(CNAME(target.clone())));
                if question.query_type() != RecordType::CNAME {
                    let next = Query::query(target, question.query_type());
                    answers.extend(in_world(world, &next).answers);
                }
            }
            _ => {}
        }
    }
    Found::Records { answers, additionals }
}

/// `Reverse`: the Service with this cluster IP, otherwise the endpoints with this address; `None`: fall
/// through.
fn reverse(world: &World, question: &Query, name: &Name) -> Option<Answer> {
    let ip = name.parse_arpa_name().ok().map(|network| network.addr())?;
    // A network such as 96.10.in-addr.arpa is not an address.
    if name.num_labels() != if ip.is_ipv4() { 6 } else { 34 } {
        return None;
    }
    let mut answers: Vec<Record> = Vec::new();
    for owner in owners_of(world, ip) {
        let data = RData::PTR(PTR(in_zone(&owner, &world.zone)));
        answers.push(Record::from_rdata(question.name().clone(), world.ttl, data));
    }
    answers.dedup();
    (!answers.is_empty()).then(|| Answer { authoritative: true, answers, ..Answer::default() })
}

/// The SOA of negative answers: backend_lookup.go's `SOA`.
fn soa(world: &World) -> Record {
    let mail = in_zone(&["hostmaster".to_owned()], &world.zone);
    // The serial is the time of the last change, which a world does not have.
    let data = SOA::new(name_server(world), mail, 1, 7200, 1800, 86400, world.ttl);
    Record::from_rdata(world.zone.clone(), world.ttl.min(300), RData::SOA(data))
}

fn name_server(world: &World) -> Name {
    in_zone(&["ns".to_owned(), "dns".to_owned()], &world.zone)
}

fn in_zone(labels: &[String], zone: &Name) -> Name {
    let name = Name::from_labels(labels.iter().map(String::as_bytes));
    name.and_then(|name| name.append_domain(zone)).unwrap_or_else(|_| zone.clone())
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn labels_left_of(name: &Name, zone: &Name) -> Vec<String> {
    let left = usize::from(name.num_labels()).saturating_sub(usize::from(zone.num_labels()));
    name.iter().take(left).map(|label| String::from_utf8_lossy(label).into_owned()).collect()
}
