//! Faults between the proxy and its upstreams: the real program, and servers on the loopback that forge, hang
//! up, disappear and return. No test asserts on the clock: the tests check that answers arrive, and which
//! queries the servers get.

mod support;

use std::time::Duration;

use hickory_proto::op::Message;
use tokio::task::JoinSet;

use support::{
    Proxy, RecordType, ResponseCode, Script, Upstream, a, address, ask, encode, name, queried_name, query,
    reply, start, without_records,
};

/// Queries names with these numbers together; each must get the true answer.
async fn all_are_found(proxy: &Proxy, prefix: &str, count: u16) {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (dns, name) = (proxy.dns, format!("{prefix}-{number}.example."));
        clients.spawn(async move { (ask(dns, &query(&name, RecordType::A, number, None)).await, name) });
    }
    for (answer, name) in clients.join_all().await {
        assert_eq!(answer.answers, [a(&name, 60)], "{name}");
    }
}

fn attempts(transport: &str, result: &str) -> String {
    format!("podlocal_dns_upstream_attempts_total{{transport=\"{transport}\",result=\"{result}\"}}")
}

const DOWN: &str = "podlocal_dns_upstream_unavailable";
const OPENED: &str = "podlocal_dns_upstream_tcp_connections_total{origin=\"opened\"}";
const REUSED: &str = "podlocal_dns_upstream_tcp_connections_total{origin=\"reused\"}";
const TCP: [&str; 2] = ["--upstream-transport", "tcp"];

/// An answer that no client may get, by the first label of the name, followed by the true answer, which must
/// arrive.
fn lies(query: &Message) -> Script {
    let truth = || encode(address(query), query);
    let mut lie = reply(query, ResponseCode::NoError, vec![a(&queried_name(query), 60); 2]);
    lie.metadata.id = query.metadata.id;
    match queried_name(query).split('.').next().unwrap_or_default() {
        "id" => lie.metadata.id ^= 0x0100,
        "question" => {
            lie.queries[0].set_name(name("other.example."));
        }
        "type" => {
            lie.queries[0].set_query_type(RecordType::AAAA);
        }
        "port" => return Script::FromElsewhere(lie, address(query)),
        "loop" => {
            // A record whose name points to itself (RFC 1035 section 4.1.4).
            let mut bytes = truth();
            let at = bytes.len() - 16;
            bytes[at..at + 2].copy_from_slice(&[0xc0, at as u8]);
            return Script::Bytes(vec![bytes, truth()]);
        }
        "cut" => {
            let bytes = truth();
            return Script::Bytes(vec![bytes[..bytes.len() - 1].to_vec(), truth()]);
        }
        _ => return Script::Bytes(vec![vec![], vec![0; 5], vec![0xff; 1000], vec![0; 60_000], truth()]),
    }
    Script::Bytes(vec![encode(lie, query), truth()])
}

#[tokio::test]
async fn rfc5452_9_1_wrong_answers_are_ignored_over_udp_and_tcp() {
    for transport in ["udp", "tcp"] {
        let (_upstream, proxy) = start(|query, _| lies(query), &["--upstream-transport", transport]).await;
        for kind in ["id", "question", "type", "port", "loop", "cut", "noise"] {
            if (transport, kind) != ("tcp", "port") {
                proxy.finds(&format!("{kind}.example.")).await;
            }
        }
        for result in ["failure", "unreachable"] {
            let ended = proxy.metric(&attempts(transport, result)).await;
            assert_eq!(ended, 0, "a lie must not end an attempt");
        }
    }
}

#[tokio::test]
async fn over_tcp_one_connection_serves_query_after_query() {
    let (upstream, proxy) = start(|query, _| address(query), &TCP).await;
    for number in 0..10 {
        proxy.finds(&format!("one-{number}.example.")).await;
    }
    assert_eq!(upstream.asked_by_udp(), 0);
    assert!(upstream.connections() <= 3, "one, unless this machine was slow");
    let (opened, reused) = (proxy.metric(OPENED).await, proxy.metric(REUSED).await);
    assert!(opened <= 3 && opened + reused >= 10, "{opened} opened, {reused} reused");
    all_are_found(&proxy, "many", 20).await;
    assert!(proxy.metric("podlocal_dns_upstream_tcp_idle_connections").await <= 8);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let (upstream, proxy) = start(|query, _| Script::OncePerConnection(address(query)), &TCP).await;
    for number in 0..5 {
        proxy.finds(&format!("closed-{number}.example.")).await;
    }
    assert!(upstream.connections() >= 5);
    assert_eq!(proxy.metric(&attempts("tcp", "unreachable")).await, 0);
}

#[tokio::test]
async fn dead_idle_connections_are_not_tried_one_by_one() {
    let script = |query: &Message, _| {
        let is_warm = queried_name(query).starts_with("warm");
        let (later, answer) = (Duration::from_millis(50), address(query));
        if is_warm { Script::Later(later, answer) } else { Script::DeadAfterwards(answer) }
    };
    let (upstream, proxy) = start(script, &TCP).await;
    all_are_found(&proxy, "warm", 8).await;
    let warm = upstream.asked();
    proxy.finds("dead.example.").await;
    assert!(upstream.asked() - warm <= 3, "one that is dead, then a new one");
}

#[tokio::test]
async fn the_next_server_is_queried_when_one_closes_without_an_answer() {
    let closing = Upstream::start(|_, _| Script::Close).await;
    let good = Upstream::start(|query, _| address(query)).await;
    let proxy = Proxy::start(&[closing.address, good.address], &TCP).await;
    proxy.finds("close.example.").await;
    assert!(closing.asked() >= 1 && good.asked() >= 1);
    assert!(proxy.metric(&attempts("tcp", "unreachable")).await >= 1);
}

#[tokio::test]
async fn a_recovered_upstream_answers_the_waiting_queries() {
    let serve = |query: &Message, _: bool| address(query);
    let (upstream, proxy) = start(serve, &[]).await;
    proxy.finds("before.example.").await;
    let upstream_address = upstream.address;
    drop(upstream);
    let waiting = all_are_found(&proxy, "meanwhile", 100);
    let recovery = async {
        proxy.reaches(DOWN, 1).await;
        Upstream::start_at(upstream_address, serve).await
    };
    let _upstream = tokio::join!(waiting, recovery).1;
    assert_eq!(proxy.metric(DOWN).await, 0);
}

/// A public server beside cluster DNS: it knows the outside name and answers NXDOMAIN for the Service.
#[tokio::test]
async fn with_a_dead_cluster_dns_only_outside_names_are_answered() {
    const OUTSIDE: &str = "www.example.";
    let public = Upstream::start(|query, _| match query.queries[0].query_type() {
        _ if queried_name(query) != OUTSIDE => without_records(query, ResponseCode::NXDomain),
        RecordType::A => address(query),
        _ => without_records(query, ResponseCode::NoError),
    });
    let public = public.await;
    let flags = ["--backup-upstream", &public.address.to_string()];
    let (_cluster_dns, proxy) = start(|_, _| Script::Silence, &flags).await;
    let (service, (), no_address) = tokio::join!(
        proxy.rcode("db.prod.svc.cluster.local."),
        proxy.finds(OUTSIDE),
        proxy.ask(OUTSIDE, RecordType::AAAA),
    );
    assert_eq!(service, ResponseCode::ServFail, "it may exist");
    assert_eq!((no_address.metadata.response_code, no_address.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(proxy.metric(&attempts("udp", "negative_ignored")).await, 1);
}
