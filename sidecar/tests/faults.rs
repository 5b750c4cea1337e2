//! Faults between the proxy and its upstreams: the real program, and servers on the loopback that lose,
//! delay, cut, forge, refuse, hang up, disappear and return. No test asserts on the clock: the tests check
//! that answers arrive, and which queries the servers get.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use support::{PATIENCE, Proxy, Script, Upstream, ask, query, reply};

/// The true answer to a query: one address.
fn answer(query: &Message) -> Message {
    let name = query.queries[0].name().clone();
    let record = Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(10, 0, 0, 1))));
    reply(query, ResponseCode::NoError, vec![record])
}

/// An answer that no client may get: two addresses.
fn forged(query: &Message) -> Message {
    let record = answer(query).answers[0].clone();
    reply(query, ResponseCode::NoError, vec![record.clone(), record])
}

/// Queries so many names together; each must get the true answer.
async fn all_are_answered(proxy: &Proxy, prefix: &str, count: u16) {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (dns, name) = (proxy.dns, format!("{prefix}-{number}.example."));
        clients.spawn(async move { (ask(dns, &query(&name, RecordType::A, number, None)).await, name) });
    }
    for (answer, name) in clients.join_all().await {
        assert_eq!(
            (answer.metadata.response_code, answer.answers.len()),
            (ResponseCode::NoError, 1),
            "{name}"
        );
        assert_eq!(answer.answers[0].name.to_string(), name);
    }
}

async fn is_answered(proxy: &Proxy, name: &str) {
    all_are_answered(proxy, name, 1).await;
}

/// Waits until a series of the metrics has that value.
async fn becomes(proxy: &Proxy, series: &str, value: u64) {
    let is_there = async {
        while proxy.metric(series).await != value {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_there).await.unwrap_or_else(|_| panic!("{series} does not become {value}"));
}

fn exchanges(transport: &str, result: &str) -> String {
    format!("podlocal_dns_upstream_attempts_total{{transport=\"{transport}\",result=\"{result}\"}}")
}

const RETRANSMISSIONS: &str = "podlocal_dns_upstream_retransmissions_total";
const EJECTED_SERVERS: &str = "podlocal_dns_upstream_ejected_servers";
const DOWN: &str = "podlocal_dns_upstream_unavailable";
const OPENED: &str = "podlocal_dns_upstream_tcp_connections_total{origin=\"opened\"}";
const REUSED: &str = "podlocal_dns_upstream_tcp_connections_total{origin=\"reused\"}";

#[tokio::test]
async fn with_three_datagrams_of_ten_lost_every_name_is_answered() {
    let received = AtomicU32::new(0);
    let upstream = Upstream::start(move |query, by_tcp| {
        // Knuth's multiplicative hash: the same three of ten in every run, without a pattern.
        let hash = received.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) >> 16;
        if !by_tcp && hash % 10 < 3 { Script::Silence } else { Script::Send(vec![answer(query)]) }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    all_are_answered(&proxy, "lossy", 50).await;
    assert!(proxy.metric(RETRANSMISSIONS).await >= 5);
}

#[tokio::test]
async fn an_upstream_that_takes_two_seconds_gets_1_2_queries_per_question() {
    let upstream = Upstream::start(|query, _| Script::Later(Duration::from_secs(2), answer(query))).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let (dns, name) = (proxy.dns, format!("slow-{number}.example."));
        clients.spawn(async move { ask(dns, &query(&name, RecordType::A, number, None)).await });
        sleep(Duration::from_millis(10)).await;
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.answers.len() == 1));
    let asked = upstream.asked() + upstream.probed();
    assert!(asked <= 240, "{asked} for 200");
}

#[tokio::test]
async fn answers_in_another_order_reach_their_clients() {
    let upstream = Upstream::start(|query, _| {
        let number: u64 =
            query.queries[0].name().to_string()[6..8].trim_end_matches('.').parse().unwrap_or(0);
        Script::Later(Duration::from_millis(200 - number * 2), answer(query))
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    all_are_answered(&proxy, "order", 20).await;
}

#[tokio::test]
async fn a_lost_datagram_is_retransmitted_over_udp() {
    let asked = AtomicU32::new(0);
    let upstream = Upstream::start(move |query, by_tcp| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        if by_tcp || is_first { Script::Silence } else { Script::Send(vec![answer(query)]) }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    is_answered(&proxy, "no-tcp").await;
    assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (2, 0));
}

#[tokio::test]
async fn a_truncated_answer_is_served_when_tcp_is_refused() {
    let upstream = Upstream::start(|query, by_tcp| {
        let mut answer = answer(query);
        answer.metadata.truncation = true;
        if by_tcp { Script::Close } else { Script::Send(vec![answer]) }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("cut.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.truncation);
}

/// A wrong answer by the first label of the name, followed by the true answer, which must arrive.
fn lies(query: &Message) -> Script {
    let name = query.queries[0].name().to_string();
    let truth = || {
        let mut truth = answer(query);
        truth.metadata.id = query.metadata.id;
        truth.to_vec().expect("encodes")
    };
    let mut lie = forged(query);
    lie.metadata.id = query.metadata.id;
    match name.split('-').next().unwrap_or_default() {
        "id" => lie.metadata.id ^= 0x0100,
        "question" => {
            lie.queries[0].set_name(Name::from_ascii("other.example.").expect("a name"));
        }
        "type" => {
            lie.queries[0].set_query_type(RecordType::AAAA);
        }
        "port" => return Script::FromElsewhere(forged(query), answer(query)),
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
        "noise" => {
            return Script::Bytes(vec![vec![], vec![0; 5], vec![0xff; 1000], vec![0; 60_000], truth()]);
        }
        _ => return Script::Send(vec![answer(query)]),
    }
    Script::Bytes(vec![lie.to_vec().expect("encodes"), truth()])
}

#[tokio::test]
async fn rfc5452_9_1_wrong_answers_are_ignored_over_udp_and_tcp() {
    for (transport, kinds) in [
        ("udp", ["id", "question", "type", "port", "loop", "cut", "noise"].as_slice()),
        ("tcp", ["id", "question", "type", "loop", "cut", "noise"].as_slice()),
    ] {
        let upstream = Upstream::start(|query, _| lies(query)).await;
        let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", transport]).await;
        for kind in kinds {
            is_answered(&proxy, kind).await;
        }
        for result in ["failure", "unreachable"] {
            let series = exchanges(transport, result);
            assert_eq!(proxy.metric(&series).await, 0, "a lie must not end an attempt");
        }
    }
}

#[tokio::test]
async fn over_tcp_one_connection_serves_query_after_query() {
    let upstream = Upstream::start(|query, _| Script::Send(vec![answer(query)])).await;
    let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", "tcp"]).await;
    for number in 0..10 {
        is_answered(&proxy, &format!("one{number}")).await;
    }
    assert_eq!(upstream.asked_by_udp(), 0);
    assert!(upstream.connections() <= 3, "one, unless this machine was slow");
    let (opened, reused) = (proxy.metric(OPENED).await, proxy.metric(REUSED).await);
    assert!(opened <= 3 && opened + reused >= 10, "{opened} opened, {reused} reused");
    all_are_answered(&proxy, "many", 20).await;
    assert!(proxy.metric("podlocal_dns_upstream_tcp_idle_connections").await <= 8);
}

#[tokio::test]
async fn with_udp_only_truncated_answers_are_fetched_over_tcp() {
    let asked = AtomicU32::new(0);
    let upstream = Upstream::start(move |query, by_tcp| {
        let mut answer = answer(query);
        answer.metadata.truncation = !by_tcp && query.queries[0].name().to_string().starts_with("large");
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Script::Silence } else { Script::Send(vec![answer]) }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", "udp"]).await;
    is_answered(&proxy, "lost").await;
    assert_eq!(upstream.asked_by_tcp(), 0);
    assert!(upstream.asked_by_udp() >= 2);
    is_answered(&proxy, "large").await;
    assert_eq!(upstream.asked_by_tcp(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    for half_closes in [true, false] {
        let upstream = Upstream::start(move |query, _| {
            if half_closes { Script::Last(answer(query)) } else { Script::OncePerConnection(answer(query)) }
        })
        .await;
        let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", "tcp"]).await;
        for number in 0..5 {
            is_answered(&proxy, &format!("closed{number}")).await;
        }
        assert!(upstream.connections() >= 5);
        assert_eq!(proxy.metric(&exchanges("tcp", "unreachable")).await, 0);
    }
}

#[tokio::test]
async fn dead_idle_connections_are_not_tried_one_by_one() {
    let upstream = Upstream::start(|query, _| {
        let answer = answer(query);
        if query.queries[0].name().to_string().starts_with("warm") {
            return Script::Later(Duration::from_millis(50), answer);
        }
        Script::DeadAfterwards(answer)
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", "tcp"]).await;
    all_are_answered(&proxy, "warm", 8).await;
    let warm = upstream.asked();
    is_answered(&proxy, "dead").await;
    assert!(upstream.asked() - warm <= 3, "one that is dead, then a new one");
}

#[tokio::test]
async fn the_next_server_is_queried_when_one_closes_without_an_answer() {
    let closing = Upstream::start(|_, _| Script::Close).await;
    let good = Upstream::start(|query, _| Script::Send(vec![answer(query)])).await;
    let proxy = Proxy::start(&[closing.address, good.address], &["--upstream-transport", "tcp"]).await;
    is_answered(&proxy, "close").await;
    assert!(closing.asked() >= 1 && good.asked() >= 1);
    assert!(proxy.metric(&exchanges("tcp", "unreachable")).await >= 1);
}

#[tokio::test]
async fn a_silent_server_is_ejected_until_it_recovers() {
    let is_silent = Arc::new(AtomicBool::new(true));
    let silent = Arc::clone(&is_silent);
    let first = Upstream::start(move |query, _| {
        if silent.load(Ordering::SeqCst) { Script::Silence } else { Script::Send(vec![answer(query)]) }
    })
    .await;
    let second = Upstream::start(|query, _| Script::Send(vec![answer(query)])).await;
    let proxy = Proxy::start(&[first.address, second.address], &[]).await;
    is_answered(&proxy, "one").await;
    is_answered(&proxy, "two").await;
    assert_eq!(proxy.metric(EJECTED_SERVERS).await, 1);
    assert_eq!(proxy.metric(DOWN).await, 0, "the other one is well");
    let asked = first.asked();
    is_answered(&proxy, "three").await;
    assert_eq!(first.asked(), asked, "an ejected server is not queried");
    is_silent.store(false, Ordering::SeqCst);
    // The trials with queries of clients find out.
    let is_back = async {
        for number in 0.. {
            is_answered(&proxy, &format!("again{number}")).await;
            if proxy.metric(EJECTED_SERVERS).await == 0 {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, is_back).await.expect("it is found back");
    let asked = first.asked();
    is_answered(&proxy, "four").await;
    assert!(first.asked() > asked && first.probed() == 0);
}

#[tokio::test]
async fn a_recovered_upstream_answers_the_waiting_queries() {
    let serve = |query: &Message, _: bool| Script::Send(vec![answer(query)]);
    let upstream = Upstream::start(serve).await;
    let address = upstream.address;
    let proxy = Proxy::start(&[address], &[]).await;
    is_answered(&proxy, "before").await;
    drop(upstream);
    let mut waiting = JoinSet::new();
    for number in 0..100 {
        let (dns, name) = (proxy.dns, format!("meanwhile-{number}.example."));
        waiting.spawn(async move { ask(dns, &query(&name, RecordType::A, number, None)).await });
    }
    becomes(&proxy, DOWN, 1).await;
    let _upstream = Upstream::start_at(address, serve).await;
    let answers = waiting.join_all().await;
    assert!(answers.iter().all(|answer| answer.answers.len() == 1));
    assert_eq!(proxy.metric(DOWN).await, 0);
}

#[tokio::test]
async fn refused_queries_are_retransmitted_twice() {
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        socket.local_addr().expect("an address")
    };
    let proxy = Proxy::start(&[closed], &[]).await;
    let mut clients = JoinSet::new();
    for number in 0..100 {
        let (dns, name) = (proxy.dns, format!("gone-{number}.example."));
        clients.spawn(async move { ask(dns, &query(&name, RecordType::A, number, None)).await });
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.metadata.response_code == ResponseCode::ServFail));
    let retransmissions = proxy.metric(RETRANSMISSIONS).await;
    assert!(retransmissions <= 200, "each of them after 1 and 3 s: {retransmissions}");
}

#[tokio::test]
async fn the_proxys_queries_carry_a_loop_marker() {
    let upstream = Upstream::start(|query, _| {
        let is_marked = query.edns.as_ref().is_some_and(|edns| {
            edns.option(hickory_proto::rr::rdata::opt::EdnsCode::Unknown(65353)).is_some()
        });
        if is_marked { Script::Send(vec![answer(query)]) } else { Script::Silence }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    is_answered(&proxy, "marked").await;
    assert_eq!(upstream.asked(), 1);
}
