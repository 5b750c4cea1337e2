//! A shared tier and its sources: how much one source can take from the others.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use tokio::net::UdpSocket;
use tokio::time::{interval, timeout};

use support::{
    PATIENCE, Proxy, RecordType, ResponseCode, Script, Upstream, address, ask_tcp, connect_from,
    queried_name, query, read_frame, reply, start, write_frame,
};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// The answer of an upstream to all names except those that begin with "silent".
fn answer_or_silence(query: &Message, _: bool) -> Script {
    if queried_name(query).starts_with("silent") { Script::Silence } else { address(query).into() }
}

/// A tier with these flags.
async fn start_tier(flags: &[&str]) -> (Upstream, Proxy) {
    start(answer_or_silence, &[&["--role", "shared"][..], flags].concat()).await
}

fn bytes(name: &str) -> Vec<u8> {
    query(name, RecordType::A, 1, None).to_vec().expect("encodes")
}

async fn socket(source: impl Into<IpAddr>, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((source.into(), 0)).await.expect("binds");
    socket.connect(server).await.expect("connects");
    socket
}

async fn send(socket: &UdpSocket, name: &str) {
    socket.send(&bytes(name)).await.expect("sends");
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = vec![0; 4096];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("receives");
    Message::from_vec(&buffer[..length]).expect("decodes")
}

/// The answer to a query over UDP.
async fn ask(socket: &UdpSocket, name: &str) -> Message {
    send(socket, name).await;
    receive(socket).await
}

/// The remaining tokens of the common retry budget.
async fn retry_budget(tier: &Proxy) -> u64 {
    tier.document("/stats").await["upstream"]["retry_budget"].as_u64().expect("a number")
}

/// Lets one source query names that are never answered while another one is answered, which shows that the
/// first one's queries are lost: until there are no tokens for their retransmission.
async fn until_the_budget_is_exhausted(tier: &Proxy) {
    let other = socket(OTHER, tier.dns).await;
    let mut beat = interval(Duration::from_millis(5));
    for number in 0.. {
        beat.tick().await;
        ask(&other, &format!("good-{number}.example.")).await;
        if tier.metric("podlocal_dns_upstream_retry_budget_exhausted_total").await > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn unanswered_names_use_up_only_the_tokens_of_their_source() {
    for is_by_tcp in [false, true] {
        let (_upstream, tier) = start_tier(&[]).await;
        let one = socket(ONE, tier.dns).await;
        let mut open = Vec::new();
        for number in 0..300 {
            let name = format!("silent-{number}.example.");
            if !is_by_tcp {
                send(&one, &name).await;
                continue;
            }
            if number % 50 == 0 {
                open.push(connect_from(ONE, tier.dns).await);
            }
            write_frame(open.last_mut().expect("a connection"), &bytes(&name)).await;
        }
        until_the_budget_is_exhausted(&tier).await;
        assert!(retry_budget(&tier).await >= 30, "{is_by_tcp}");
    }
}

#[tokio::test]
async fn sources_of_one_network_have_a_budget_each() {
    let (_upstream, tier) = start_tier(&[]).await;
    for number in 0..2 {
        let source = socket(Ipv4Addr::new(127, 0, 1, 1 + number), tier.dns).await;
        for question in 0..150 {
            send(&source, &format!("silent-{number}-{question}.example.")).await;
        }
    }
    until_the_budget_is_exhausted(&tier).await;
    assert!(retry_budget(&tier).await >= 20, "ten less for each of them");
}

/// A source may have ten misses a second, and all unverified sources a hundred; twice as many at once.
const NARROW: [&str; 2] = ["--max-miss-rate-per-source", "10"];

/// A tier may have a hundred flights.
const FEW_FLIGHTS: [&str; 2] = ["--max-in-flight", "100"];

/// A datagram from an address that is left immediately, as if it were forged.
async fn forge(number: u32, server: SocketAddr, question: &[u8]) {
    let [_, high, middle, low] = number.to_be_bytes();
    let source = Ipv4Addr::new(127, 10 + high, middle, low.max(1));
    socket(source, server).await.send(question).await.expect("sends");
}

/// Uses up the flights of all unverified sources.
async fn exhaust(tier: &Proxy) {
    for number in 0.. {
        forge(number, tier.dns, &bytes(&format!("silent-{number}.example."))).await;
        // The queries of one batch are not yet in flight for each other.
        if number % 8 == 0 && tier.limit_reached("new_sources").await > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn forged_sources_share_the_misses_of_ten_sources() {
    let (upstream, tier) = start_tier(&NARROW).await;
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
    let (_upstream, tier) = start_tier(&FEW_FLIGHTS).await;
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

/// A sidecar in front of that tier and of another upstream.
async fn start_sidecar(tier: &Proxy) -> (Upstream, Proxy) {
    let flags = ["--namespace", "default", "--shared-tier", &tier.dns.to_string()];
    start(answer_or_silence, &flags).await
}

#[tokio::test]
async fn clients_of_a_sidecar_do_not_notice_forged_sources() {
    let (_behind, tier) = start_tier(&FEW_FLIGHTS).await;
    let (around, sidecar) = start_sidecar(&tier).await;
    exhaust(&tier).await;
    let client = socket(ONE, sidecar.dns).await;
    for number in 0..5 {
        assert_eq!(ask(&client, &format!("name-{number}.example.")).await.answers.len(), 1);
    }
    assert_eq!(around.asked(), 0, "the tier has answered, over TCP at first");
}

#[tokio::test]
async fn a_sidecar_falls_back_when_the_tier_has_no_free_connection() {
    let (behind, tier) = start_tier(&[&FEW_FLIGHTS[..], &["--max-tcp-connections", "1"]].concat()).await;
    let (around, sidecar) = start_sidecar(&tier).await;
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
    let (upstream, tier) = start_tier(&NARROW).await;
    let mut gang = Vec::new();
    for number in 0..500_u32 {
        let [.., high, low] = number.to_be_bytes();
        gang.push(socket(Ipv4Addr::new(127, 9, high, low.max(1)), tier.dns).await);
    }
    for name in ["one.example.", "two.example.", "three.example."] {
        for pod in &gang {
            send(pod, name).await;
        }
    }
    for pod in &gang {
        for _ in 0..3 {
            let answer = receive(pod).await;
            assert!(!answer.metadata.truncation && answer.answers.len() == 1);
        }
    }
    assert_eq!(tier.limit_reached("new_sources").await, 0);
    assert_eq!(upstream.asked(), 3);
}

/// Sends that query so often, and receives as many answers: how many of them are truncated, and have at most
/// the bytes of the query.
async fn flood(socket: &UdpSocket, question: &[u8], times: usize) -> usize {
    let mut truncated = 0;
    for _ in 0..times {
        socket.send(question).await.expect("sends");
        let answer = receive(socket).await;
        let length = answer.to_vec().expect("encodes").len();
        assert!(length <= if answer.metadata.truncation { question.len() } else { 1232 });
        truncated += usize::from(answer.metadata.truncation);
    }
    truncated
}

#[tokio::test]
async fn long_answers_to_one_address_are_limited() {
    let script = |query: &Message, _| {
        let text = |number: u8| RData::TXT(TXT::new(vec![format!("{number:0>250}")]));
        let name = query.queries[0].name();
        let record = |number| Record::from_rdata(name.clone(), 60, text(number));
        if queried_name(query).starts_with("short") {
            return address(query);
        }
        reply(query, ResponseCode::NoError, (0..4).map(record).collect())
    };
    let (_upstream, tier) = start(script, &[&["--role", "shared"][..], &NARROW].concat()).await;
    let long_query = query("long.example.", RecordType::TXT, 1, Some(1232));
    let long_question = long_query.to_vec().expect("encodes");
    let victim = socket(ONE, tier.dns).await;
    let start = Instant::now();
    let long = 500 - flood(&victim, &long_question, 500).await;
    let most = 22.0 + 10.0 * start.elapsed().as_secs_f64();
    assert!(long as f64 <= most, "{long} long answers, of {most} at most");
    assert!(tier.limit_reached("large_answers_per_source").await > 0);
    // Another source has its own limit, and over TCP addresses cannot be forged.
    assert_eq!(flood(&socket(OTHER, tier.dns).await, &long_question, 10).await, 0);
    assert_eq!(ask_tcp(tier.dns, &long_query).await.answers.len(), 4);
    let short = flood(&victim, &bytes("short.example."), 1000).await;
    assert_eq!(short, 0, "short answers are never truncated");
}
