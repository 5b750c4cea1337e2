//! Tests that the model of cluster DNS answers as CoreDNS does; without a node, on a port of the loopback.

#![expect(clippy::unwrap_used, reason = "the functions beside a test are part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use podlocal_harness::loopback::client::exchange;
use podlocal_harness::model::cluster_dns::{ClusterDns, Faults, Service, Transport, World, answer};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// A time-out that is ample for an exchange on the loopback.
const DEADLINE: Duration = Duration::from_secs(10);

fn query(name: &str, record_type: RecordType) -> Message {
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    query
}

/// The answer in one line: the RCODE, and the records of the answer section.
fn ask(world: &World, name: &str, record_type: RecordType) -> String {
    let response = answer(world, &query(name, record_type));
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
    let response = answer(&World::example().ttl(600), &query("no.such.cluster.local.", RecordType::A));
    assert!(response.metadata.authoritative);
    assert!(!response.metadata.recursion_available);
    let [soa] = &response.authorities[..] else { panic!("{response}") };
    assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("cluster.local.", 300));
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert_eq!(data.minimum, 600);
}

#[test]
fn the_question_keeps_its_spelling_and_so_does_the_owner_of_the_answer() {
    let response = answer(&World::example(), &query("WwW.eXample.com.", RecordType::A));
    assert_eq!(response.queries[0].name().to_ascii(), "WwW.eXample.com.");
    assert_eq!(response.answers[0].name.to_ascii(), "WwW.eXample.com.");
}

#[test]
fn types_of_private_use_pass_byte_for_byte() {
    let response = answer(&World::example(), &query("raw.example.com.", RecordType::from(65280)));
    let RData::Unknown { rdata, .. } = &response.answers[0].data else { panic!("{response}") };
    assert_eq!(rdata.anything, (0..32).collect::<Vec<u8>>());
}

async fn start() -> ClusterDns {
    ClusterDns::start(World::example(), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

async fn over_udp(dns: &ClusterDns, query: &Message) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), dns.address()).await.unwrap();
    let mut buffer = vec![0; 65535];
    let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

async fn over_tcp(dns: &ClusterDns, query: &Message) -> Message {
    let mut stream = TcpStream::connect(dns.address()).await.unwrap();
    Message::from_vec(&exchange(&mut stream, &query.to_vec().unwrap()).await.unwrap()).unwrap()
}

#[tokio::test]
async fn answers_are_cut_to_what_the_client_takes_and_tcp_gets_all_of_it() {
    let dns = start().await;
    let plain = query("big.example.com.", RecordType::A);
    let cut = over_udp(&dns, &plain).await.unwrap();
    assert!(cut.metadata.truncation && cut.to_vec().unwrap().len() <= 512, "{cut}");
    assert!(cut.edns.is_none());

    let mut with_edns = plain.clone();
    with_edns.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        edns
    });
    let whole = over_udp(&dns, &with_edns).await.unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 40, "{whole}");
    assert_eq!(whole.edns.map(|edns| edns.max_payload()), Some(4096));

    let text = over_tcp(&dns, &query("big.example.com.", RecordType::TXT)).await;
    assert!(!text.metadata.truncation && text.to_vec().unwrap().len() > 4000, "{text}");
}

#[tokio::test]
async fn queries_are_counted_by_name_type_and_transport() {
    let dns = start().await;
    over_udp(&dns, &query("WWW.example.com.", RecordType::A)).await;
    over_udp(&dns, &query("www.example.com.", RecordType::AAAA)).await;
    over_tcp(&dns, &query("www.example.com.", RecordType::A)).await;
    let counts = dns.counts();
    assert_eq!((counts.total(), counts.of_name("www.example.com")), (3, 3));
    assert_eq!(counts.of("www.example.com", RecordType::A), 2);
    assert_eq!((counts.over(Transport::Udp), counts.over(Transport::Tcp)), (2, 1));
    dns.reset_counts();
    assert_eq!(dns.counts().total(), 0);
}

#[tokio::test]
async fn faults_and_the_world_can_be_changed_while_it_runs() {
    let dns = start().await;
    let late = query("late.default.svc.cluster.local.", RecordType::A);
    dns.set_faults(Faults { servfail: true, ..Faults::default() });
    assert_eq!(over_udp(&dns, &late).await.unwrap().metadata.response_code, ResponseCode::ServFail);

    dns.set_faults(Faults { delay: Duration::from_millis(50), ..Faults::default() });
    let start = std::time::Instant::now();
    assert_eq!(over_udp(&dns, &late).await.unwrap().metadata.response_code, ResponseCode::NXDomain);
    assert!(start.elapsed() >= Duration::from_millis(50));

    dns.set_faults(Faults::default());
    dns.change(|world| {
        world.service(Service::cluster_ip("late", "default", "10.96.9.9").port("x", "tcp", 1))
    });
    assert_eq!(over_udp(&dns, &late).await.unwrap().answers.len(), 1);
}

#[tokio::test]
async fn silence_is_counted_and_not_answered() {
    let dns = start().await;
    dns.set_faults(Faults { silence: true, ..Faults::default() });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let query = query("www.example.com.", RecordType::A).to_vec().unwrap();
    socket.send_to(&query, dns.address()).await.unwrap();
    timeout(DEADLINE, async {
        while dns.counts().total() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(socket.try_recv(&mut [0; 512]).is_err());
}
