//! A shared tier and its sources: how much one source can take from the others.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::{interval, timeout};

use support::{
    PATIENCE, Proxy, Script, Upstream, ask_tcp, connect_from, limit_reached, query, read_frame, reply,
    write_frame,
};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// An upstream that answers all names except those that begin with "silent".
async fn upstream() -> Upstream {
    Upstream::start(|query, _| {
        let name = query.queries[0].name().clone();
        if name.to_string().starts_with("silent") {
            return Script::Silence;
        }
        let record = Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::LOCALHOST)));
        Script::Send(vec![reply(query, ResponseCode::NoError, vec![record])])
    })
    .await
}

fn bytes(name: &str) -> Vec<u8> {
    query(name, RecordType::A, 1, None).to_vec().expect("encodes")
}

async fn socket(source: impl Into<IpAddr>, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((source.into(), 0)).await.expect("binds");
    socket.connect(server).await.expect("connects");
    socket
}

/// The remaining tokens of the common retry budget.
async fn retry_budget(tier: &Proxy) -> u32 {
    let stats = tier.http("/stats").await;
    let figure = stats.split_once("\"retry_budget\":").expect("in every page").1;
    figure.split([',', '}']).next().expect("a figure").parse().expect("a number")
}

/// Lets one source query names that are never answered while another one is answered, which shows that the
/// first one's queries are lost: until there are no tokens for their retransmission.
async fn until_the_budget_is_exhausted(tier: &Proxy) {
    let other = socket(OTHER, tier.dns).await;
    let mut beat = interval(Duration::from_millis(5));
    for number in 0.. {
        beat.tick().await;
        other.send(&bytes(&format!("good-{number}.example."))).await.expect("sends");
        other.recv(&mut [0; 512]).await.expect("is answered");
        if tier.metric("podlocal_dns_upstream_retry_budget_exhausted_total").await > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn unanswered_names_use_up_only_the_tokens_of_their_source() {
    let upstream = upstream().await;
    let tier = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let one = socket(ONE, tier.dns).await;
    for number in 0..300 {
        one.send(&bytes(&format!("silent-{number}.example."))).await.expect("sends");
    }
    until_the_budget_is_exhausted(&tier).await;
    assert!(retry_budget(&tier).await >= 30);
}

#[tokio::test]
async fn unanswered_names_over_tcp_use_up_only_their_sources_tokens() {
    let upstream = upstream().await;
    let tier = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let mut open = Vec::new();
    for connection in 0..6 {
        let mut stream = connect_from(ONE, tier.dns).await;
        for number in 0..50 {
            write_frame(&mut stream, &bytes(&format!("silent-{connection}-{number}.example."))).await;
        }
        open.push(stream);
    }
    until_the_budget_is_exhausted(&tier).await;
    assert!(retry_budget(&tier).await >= 30);
}

#[tokio::test]
async fn sources_of_one_network_have_a_budget_each() {
    let upstream = upstream().await;
    let tier = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let mut sources = Vec::new();
    for number in 0..2 {
        let source = socket(Ipv4Addr::new(127, 0, 1, 1 + number), tier.dns).await;
        for question in 0..150 {
            source.send(&bytes(&format!("silent-{number}-{question}.example."))).await.expect("sends");
        }
        sources.push(source);
    }
    until_the_budget_is_exhausted(&tier).await;
    assert!(retry_budget(&tier).await >= 20, "ten less for each of them");
}

/// A tier in which a source may have ten misses a second, and all unverified sources a hundred; twice as many
/// at once.
async fn narrow_tier(upstream: &Upstream) -> Proxy {
    Proxy::start(&[upstream.address], &["--role", "shared", "--max-miss-rate-per-source", "10"]).await
}

/// A datagram from an address that is left immediately, as if it were forged.
async fn forge(number: u32, server: SocketAddr, question: &[u8]) {
    let [_, high, middle, low] = number.to_be_bytes();
    let source = Ipv4Addr::new(127, 10 + high, middle, low.max(1));
    socket(source, server).await.send(question).await.expect("sends");
}

/// The answer to a query over UDP.
async fn ask(socket: &UdpSocket, name: &str) -> Message {
    socket.send(&bytes(name)).await.expect("sends");
    let mut buffer = vec![0; 4096];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("receives");
    Message::from_vec(&buffer[..length]).expect("decodes")
}

/// A tier may have a hundred flights.
const FEW_FLIGHTS: [&str; 4] = ["--role", "shared", "--max-in-flight", "100"];

/// Uses up the flights of all unverified sources.
async fn exhaust(tier: &Proxy) {
    for number in 0.. {
        forge(number, tier.dns, &bytes(&format!("silent-{number}.example."))).await;
        // The queries of one batch are not yet in flight for each other.
        if number % 8 == 0 && limit_reached(tier, "new_sources").await > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn forged_sources_share_the_misses_of_ten_sources() {
    let upstream = upstream().await;
    let tier = narrow_tier(&upstream).await;
    let start = Instant::now();
    for number in 0..2000 {
        forge(number, tier.dns, &bytes(&format!("forged-{number}.example."))).await;
    }
    // Earlier datagrams have been handled by now.
    ask(&socket(OTHER, tier.dns).await, "last.example.").await;
    let (asked, most) = (upstream.asked() as f64, 202.0 + 100.0 * start.elapsed().as_secs_f64());
    assert!(asked <= most, "{asked} questions, of {most} at most");
}

#[tokio::test]
async fn a_client_over_tcp_is_verified_and_keeps_its_share() {
    let upstream = upstream().await;
    let tier = Proxy::start(&[upstream.address], &FEW_FLIGHTS).await;
    exhaust(&tier).await;
    let client = socket(ONE, tier.dns).await;
    let answer = ask(&client, "first.example.").await;
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let mut stream = connect_from(ONE, tier.dns).await;
    write_frame(&mut stream, &bytes("first.example.")).await;
    let answer = timeout(PATIENCE, read_frame(&mut stream)).await.expect("in time").expect("an answer");
    assert_eq!(Message::from_vec(&answer).expect("decodes").answers.len(), 1);
    let answer = ask(&client, "second.example.").await;
    assert!(!answer.metadata.truncation && answer.answers.len() == 1, "by UDP again");
}

#[tokio::test]
async fn clients_of_a_sidecar_do_not_notice_forged_sources() {
    let [behind, around] = [upstream().await, upstream().await];
    let tier = Proxy::start(&[behind.address], &FEW_FLIGHTS).await;
    let flags = ["--namespace", "default", "--shared-tier", &tier.dns.to_string()];
    let sidecar = Proxy::start(&[around.address], &flags).await;
    exhaust(&tier).await;
    let client = socket(ONE, sidecar.dns).await;
    for number in 0..5 {
        assert_eq!(ask(&client, &format!("name-{number}.example.")).await.answers.len(), 1);
    }
    assert_eq!(around.asked(), 0, "the tier has answered, over TCP at first");
}

#[tokio::test]
async fn a_sidecar_falls_back_when_the_tier_has_no_free_connection() {
    let [behind, around] = [upstream().await, upstream().await];
    let tier =
        Proxy::start(&[behind.address], &[&FEW_FLIGHTS[..], &["--max-tcp-connections", "1"]].concat()).await;
    let flags = ["--namespace", "default", "--shared-tier", &tier.dns.to_string()];
    let sidecar = Proxy::start(&[around.address], &flags).await;
    // The only connection has a query in flight, and so is not closed for another one.
    let mut waiting = connect_from(OTHER, tier.dns).await;
    write_frame(&mut waiting, &bytes("silent.example.")).await;
    while behind.asked() == 0 {
        tokio::task::yield_now().await;
    }
    exhaust(&tier).await;
    assert_eq!(ask(&socket(ONE, sidecar.dns).await, "name.example.").await.answers.len(), 1);
    assert_eq!(around.asked(), 1);
}

#[tokio::test]
async fn a_gang_of_unverified_sources_with_the_same_names_is_answered() {
    let upstream = upstream().await;
    let tier = narrow_tier(&upstream).await;
    let mut gang = Vec::new();
    for number in 0..500_u32 {
        let [.., high, low] = number.to_be_bytes();
        gang.push(socket(Ipv4Addr::new(127, 9, high, low.max(1)), tier.dns).await);
    }
    for name in ["one.example.", "two.example.", "three.example."] {
        for pod in &gang {
            pod.send(&bytes(name)).await.expect("sends");
        }
    }
    for pod in &gang {
        for _ in 0..3 {
            let mut buffer = vec![0; 4096];
            let length = timeout(PATIENCE, pod.recv(&mut buffer)).await.expect("in time").expect("receives");
            let answer = Message::from_vec(&buffer[..length]).expect("decodes");
            assert!(!answer.metadata.truncation && answer.answers.len() == 1);
        }
    }
    assert_eq!(limit_reached(&tier, "new_sources").await, 0);
    assert_eq!(upstream.asked(), 3);
}

/// Sends that query so often, and receives as many answers: their bytes, and how many of them are truncated.
async fn flood(socket: &UdpSocket, question: &[u8], times: usize) -> (usize, usize) {
    let (mut bytes, mut truncated) = (0, 0);
    for _ in 0..times {
        socket.send(question).await.expect("sends");
        let mut buffer = vec![0; 4096];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("receives");
        bytes += length;
        truncated += usize::from(Message::from_vec(&buffer[..length]).expect("decodes").metadata.truncation);
    }
    (bytes, truncated)
}

#[tokio::test]
async fn long_answers_to_one_address_are_limited() {
    let upstream = Upstream::start(|query, _| {
        let text = |number: u8| TXT::new(vec![format!("{number:0>250}")]);
        let name = query.queries[0].name();
        let records = (0..4).map(|number| Record::from_rdata(name.clone(), 60, RData::TXT(text(number))));
        Script::Send(vec![reply(query, ResponseCode::NoError, records.collect())])
    })
    .await;
    let tier = narrow_tier(&upstream).await;
    let victim = socket(ONE, tier.dns).await;
    let question = query("long.example.", RecordType::TXT, 1, Some(1232)).to_vec().expect("encodes");
    let start = Instant::now();
    let (bytes, truncated) = flood(&victim, &question, 500).await;
    let long = 500 - truncated;
    let most = 22.0 + 10.0 * start.elapsed().as_secs_f64();
    assert!(long as f64 <= most, "{long} long answers, of {most} at most");
    assert!(bytes <= long * 1232 + truncated * question.len());
    assert!(limit_reached(&tier, "large_answers_per_source").await > 0);
    // Another source has its own limit, and over TCP addresses cannot be forged.
    assert_eq!(flood(&socket(OTHER, tier.dns).await, &question, 10).await.1, 0);
    let answer = ask_tcp(tier.dns, &query("long.example.", RecordType::TXT, 2, None)).await;
    assert_eq!(answer.answers.len(), 4);
}

#[tokio::test]
async fn short_answers_are_never_truncated() {
    let upstream = upstream().await;
    let tier = narrow_tier(&upstream).await;
    let client = socket(ONE, tier.dns).await;
    assert_eq!(flood(&client, &bytes("www.example."), 1000).await.1, 0);
}
