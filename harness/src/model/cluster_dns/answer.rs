//! A query and a world -> the response that CoreDNS would send.
//!
//! Follows CoreDNS's plugin/kubernetes (parse.go, kubernetes.go, handler.go, reverse.go) and
//! plugin/backend_lookup.go, with kubeadm's Corefile: reverse zones are served, and names that are not in
//! them fall through to the outside names. Two differences help tests that compare answers: addresses keep
//! their order (kubeadm's `loadbalance` rotates them), and outside names keep their TTL (`cache 30` shortens
//! it).

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::outside;
use super::services::{Request, Target, find, owners_of, parse, pod};
use super::world::{TTL, World};

/// The TXT record of `dns-version.<zone>`: the version of the specification, and the TTL.
const SPECIFICATION: (&str, u32) = ("1.1.0", 28800);

/// The complete response to a query; [`truncate`] limits its size.
pub fn answer(world: &World, query: &Message) -> Message {
    let mut response = match query.queries.first() {
        Some(question) => in_world(world, question),
        None => with_code(ResponseCode::FormErr),
    };
    let Metadata { response_code, authoritative, recursion_available, .. } = response.metadata;
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.response_code = response_code;
    response.metadata.authoritative = authoritative;
    response.metadata.recursion_available = recursion_available;
    response.queries.clone_from(&query.queries);
    // CoreDNS returns the client's OPT record without its options.
    response.edns = query.edns.as_ref().map(|edns| {
        let mut own = Edns::new();
        own.set_max_payload(edns.max_payload()).set_dnssec_ok(edns.flags().dnssec_ok);
        own
    });
    response
}

/// An answer without records.
fn with_code(code: ResponseCode) -> Message {
    let mut answer = Message::query();
    answer.metadata.response_code = code;
    answer
}

/// Removes records from the end until the response fits, and then sets TC: `Truncate` of miekg/dns.
pub(super) fn truncate(response: &mut Message, most_bytes: usize) {
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

/// The records, the RCODE and the flags for a question.
fn in_world(world: &World, question: &Query) -> Message {
    let name = question.name().to_lowercase();
    if world.zone.zone_of(&name) {
        return in_cluster(world, question, &name);
    }
    let is_reverse = question.query_type() == RecordType::PTR;
    let found = is_reverse.then(|| reverse(world, question, &name)).flatten();
    found.unwrap_or_else(|| outside::answer(world, question))
}

/// The answers and the additional records.
type Records = (Vec<Record>, Vec<Record>);

fn in_cluster(world: &World, question: &Query, name: &Name) -> Message {
    let left = usize::from(name.num_labels()).saturating_sub(usize::from(world.zone.num_labels()));
    let left = name.iter().take(left).map(|label| String::from_utf8_lossy(label).into_owned());
    let left: Vec<String> = left.collect();
    let found = look_up(world, question, &left.iter().map(String::as_str).collect::<Vec<_>>());
    let mut answer = with_code(if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain });
    answer.metadata.authoritative = true;
    (answer.answers, answer.additionals) = found.unwrap_or_default();
    if answer.answers.is_empty() {
        answer.additionals.clear();
        answer.authorities = vec![soa(world)];
    }
    answer
}

/// The records of the type that a name has, if it has any; `None`: the name does not exist.
fn look_up(world: &World, question: &Query, left: &[&str]) -> Option<Records> {
    let record = |data| Record::from_rdata(question.name().clone(), TTL, data);
    let of_type = |addresses: &[IpAddr]| {
        let data = addresses.iter().map(|&address| RData::from(address));
        data.filter(|data| data.record_type() == question.query_type()).map(record).collect()
    };
    Some(match (question.query_type(), left) {
        (RecordType::TXT, ["dns-version"]) => {
            let text = RData::TXT(TXT::new(vec![SPECIFICATION.0.to_owned()]));
            (vec![Record::from_rdata(question.name().clone(), SPECIFICATION.1, text)], Vec::new())
        }
        // TXT is not looked up among Services at all, so RFC 8020 does not hold here.
        (RecordType::TXT, [_]) => return None,
        (RecordType::TXT, _) => Records::default(),
        (RecordType::SOA, []) => (vec![soa(world)], Vec::new()),
        (RecordType::NS, []) => {
            let server = name_server(world);
            let glue = world.dns.iter().map(|&ip| Record::from_rdata(server.clone(), TTL, ip.into()));
            (vec![record(RData::NS(NS(server.clone())))], glue.collect())
        }
        (_, ["ns", "dns"]) => (of_type(&world.dns), Vec::new()),
        _ => match parse(left) {
            Request::Exists => Records::default(),
            Request::Invalid => return None,
            Request::Pod { namespace, name } => {
                (of_type(pod(world, namespace, name)?.as_slice()), Vec::new())
            }
            Request::Service { namespace, name, part } => {
                targets_of_type(world, question, &find(world, namespace, name, &part)?)
            }
        },
    })
}

fn targets_of_type(world: &World, question: &Query, targets: &[Target<'_>]) -> Records {
    let (mut answers, mut additionals): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
    let add = |records: &mut Vec<Record>, name: &Name, data: RData| {
        let record = Record::from_rdata(name.clone(), TTL, data);
        if !records.contains(&record) {
            records.push(record);
        }
    };
    // backend_lookup.go divides a weight of 100 among the targets.
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
    for target in targets {
        match (target, question.query_type()) {
            (Target::Address { ip, .. }, wanted) if RData::from(*ip).record_type() == wanted => {
                add(&mut answers, question.name(), RData::from(*ip));
            }
            (Target::Address { ip, port: Some(port), owner }, RecordType::SRV) => {
                let owner = in_zone(owner, &world.zone);
                let data = RData::SRV(SRV::new(0, weight, port.number, owner.clone()));
                add(&mut answers, question.name(), data);
                add(&mut additionals, &owner, RData::from(*ip));
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
    (answers, additionals)
}

/// `Reverse`: the Service with this cluster IP, otherwise the endpoints with this address; `None`: fall
/// through.
fn reverse(world: &World, question: &Query, name: &Name) -> Option<Message> {
    let ip = name.parse_arpa_name().ok().map(|network| network.addr())?;
    // A network such as 96.10.in-addr.arpa is not an address.
    if name.num_labels() != if ip.is_ipv4() { 6 } else { 34 } {
        return None;
    }
    let mut answer = with_code(ResponseCode::NoError);
    answer.metadata.authoritative = true;
    for owner in owners_of(world, ip) {
        let data = RData::PTR(PTR(in_zone(&owner, &world.zone)));
        answer.answers.push(Record::from_rdata(question.name().clone(), TTL, data));
    }
    answer.answers.dedup();
    (!answer.answers.is_empty()).then_some(answer)
}

/// The SOA of negative answers: backend_lookup.go's `SOA`.
fn soa(world: &World) -> Record {
    let mail = in_zone(&["hostmaster".to_owned()], &world.zone);
    // The serial is the time of the last change, which a world does not have.
    let data = SOA::new(name_server(world), mail, 1, 7200, 1800, 86400, TTL);
    Record::from_rdata(world.zone.clone(), TTL, RData::SOA(data))
}

fn name_server(world: &World) -> Name {
    in_zone(&["ns".to_owned(), "dns".to_owned()], &world.zone)
}

fn in_zone(labels: &[String], zone: &Name) -> Name {
    let name = Name::from_labels(labels.iter().map(String::as_bytes));
    name.and_then(|name| name.append_domain(zone)).unwrap_or_else(|_| zone.clone())
}
