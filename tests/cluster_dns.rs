//! Tests that the model of cluster DNS answers as CoreDNS does.

#![expect(clippy::unwrap_used, reason = "the functions beside a test are part of it")]

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use podlocal_harness::loopback::client::question;
use podlocal_harness::model::cluster_dns::{World, answer};

/// The answer in one line: the RCODE, and the records of the answer section.
fn ask(world: &World, name: &str, record_type: RecordType) -> String {
    let response = answer(world, &question(name, record_type).unwrap());
    let records: Vec<_> = response.answers.iter().map(|record| record.data.to_string()).collect();
    match (response.metadata.response_code, records.is_empty()) {
        (ResponseCode::NoError, true) => "NODATA".to_owned(),
        (ResponseCode::NoError, false) => records.join(" "),
        (ResponseCode::NXDomain, true) => "NXDOMAIN".to_owned(),
        (code, _) => format!("{code:?} {records:?}"),
    }
}

#[test]
fn names_of_the_cluster_are_answered_as_coredns_answers_them() {
    use RecordType::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
    let world = World::example();
    let table = [
        // Services
        ("kubernetes.default.svc.cluster.local.", A, "10.96.0.1"),
        ("KuberNetes.DEFAULT.svc.Cluster.Local.", A, "10.96.0.1"),
        ("kubernetes.default.svc.cluster.local.", AAAA, "NODATA"),
        ("kubernetes.default.svc.cluster.local.", MX, "NODATA"),
        ("web.default.svc.cluster.local.", AAAA, "fd00:96::7"),
        ("missing.default.svc.cluster.local.", A, "NXDOMAIN"),
        ("kubernetes.missing.svc.cluster.local.", A, "NXDOMAIN"),
        // The names above them
        ("cluster.local.", A, "NODATA"),
        ("svc.cluster.local.", A, "NODATA"),
        ("pod.cluster.local.", A, "NODATA"),
        ("default.svc.cluster.local.", A, "NODATA"),
        ("missing.svc.cluster.local.", A, "NXDOMAIN"),
        ("dns.cluster.local.", A, "NXDOMAIN"),
        ("ns.dns.cluster.local.", A, "10.96.0.10"),
        // Search expansions
        ("api.example.com.default.svc.cluster.local.", A, "NXDOMAIN"),
        ("api.example.com.svc.cluster.local.", A, "NXDOMAIN"),
        ("api.example.com.cluster.local.", AAAA, "NXDOMAIN"),
        ("a.b.c.d.default.svc.cluster.local.", A, "NXDOMAIN"),
        // Ports, whose underscores are optional
        (
            "_https._tcp.kubernetes.default.svc.cluster.local.",
            SRV,
            "0 100 443 kubernetes.default.svc.cluster.local.",
        ),
        ("_https._tcp.kubernetes.default.svc.cluster.local.", A, "10.96.0.1"),
        ("https.tcp.kubernetes.default.svc.cluster.local.", A, "10.96.0.1"),
        ("_https._udp.kubernetes.default.svc.cluster.local.", SRV, "NXDOMAIN"),
        ("_tcp.kubernetes.default.svc.cluster.local.", SRV, "NXDOMAIN"),
        // Headless Services
        ("peers.default.svc.cluster.local.", A, "10.244.1.10 10.244.1.11 10.244.1.12"),
        ("rank-0.peers.default.svc.cluster.local.", A, "10.244.1.10"),
        ("10-244-1-12.peers.default.svc.cluster.local.", A, "10.244.1.12"),
        ("rank-9.peers.default.svc.cluster.local.", A, "NXDOMAIN"),
        ("nobody.default.svc.cluster.local.", A, "NXDOMAIN"),
        ("_mpi._tcp.nobody.default.svc.cluster.local.", SRV, "NXDOMAIN"),
        // ExternalName
        ("store.default.svc.cluster.local.", A, "db.example.com. 203.0.113.3"),
        ("store.default.svc.cluster.local.", CNAME, "db.example.com."),
        ("store.default.svc.cluster.local.", SRV, "NODATA"),
        ("x.store.default.svc.cluster.local.", A, "NXDOMAIN"),
        // Pods: the address is taken from the name
        ("10-244-0-9.default.pod.cluster.local.", A, "10.244.0.9"),
        ("x.10-244-0-9.default.pod.cluster.local.", A, "10.244.0.9"),
        ("nonsense.default.pod.cluster.local.", A, "NXDOMAIN"),
        ("10-244-0-9.missing.pod.cluster.local.", A, "NXDOMAIN"),
        ("default.pod.cluster.local.", A, "NODATA"),
        // TXT does not follow RFC 8020
        ("dns-version.cluster.local.", TXT, "1.1.0"),
        ("svc.cluster.local.", TXT, "NXDOMAIN"),
        ("kubernetes.default.svc.cluster.local.", TXT, "NODATA"),
        // The zone itself
        ("cluster.local.", NS, "ns.dns.cluster.local."),
        ("cluster.local.", SOA, "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"),
        // Addresses
        ("1.0.96.10.in-addr.arpa.", PTR, "kubernetes.default.svc.cluster.local."),
        ("10.1.244.10.in-addr.arpa.", PTR, "rank-0.peers.default.svc.cluster.local."),
        ("9.9.9.10.in-addr.arpa.", PTR, "NXDOMAIN"),
        // Outside
        ("www.example.com.", A, "203.0.113.1"),
        ("api.example.com.", AAAA, "NODATA"),
        ("alias.example.com.", A, "cdn.example.com. www.example.com. 203.0.113.1"),
        ("alias.example.com.", CNAME, "cdn.example.com."),
        ("example.com.", A, "NODATA"),
        ("missing.example.com.", A, "NXDOMAIN"),
        ("com.default.", A, "NXDOMAIN"),
    ];
    let wrong: Vec<_> = table
        .iter()
        .map(|(name, record_type, expected)| (name, record_type, expected, ask(&world, name, *record_type)))
        .filter(|(_, _, expected, got)| got != *expected)
        .collect();
    assert!(wrong.is_empty(), "name, type, expected, got: {wrong:#?}");
}

#[test]
fn negative_answers_carry_the_soa_of_the_cluster() {
    let response = answer(&World::example(), &question("no.such.cluster.local.", RecordType::A).unwrap());
    assert!(response.metadata.authoritative);
    assert!(!response.metadata.recursion_available);
    let [soa] = &response.authorities[..] else { panic!("{response}") };
    assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("cluster.local.", 30));
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert_eq!(data.minimum, 30);
}

#[test]
fn the_question_keeps_its_spelling_and_so_does_the_owner_of_the_answer() {
    let response = answer(&World::example(), &question("WwW.eXample.com.", RecordType::A).unwrap());
    assert_eq!(response.queries[0].name().to_ascii(), "WwW.eXample.com.");
    assert_eq!(response.answers[0].name.to_ascii(), "WwW.eXample.com.");
}
