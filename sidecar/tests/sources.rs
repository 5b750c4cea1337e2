//! A shared tier and its sources: what one of them can take away from the others.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::interval;

use support::{Proxy, Script, Upstream, connect_from, query, reply, write_frame};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// An upstream that answers all names but those that begin with "silent".
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

/// What is left in common for sending lost questions again.
async fn retry_budget(tier: &Proxy) -> u32 {
    let stats = tier.http("/stats").await;
    let figure = stats.split_once("\"retry_budget\":").expect("in every page").1;
    figure.split([',', '}']).next().expect("a figure").parse().expect("a number")
}

/// While a source asks for names that are never answered, another one is answered, by which the first one's are known to be lost:
/// until there is nothing left to send them again with.
async fn until_the_budget_is_exhausted(tier: &Proxy) {
    let other = socket(OTHER, tier.dns).await;
    let mut beat = interval(Duration::from_millis(5));
    for number in 0.. {
        beat.tick().await;
        other.send(&bytes(&format!("good-{number}.example."))).await.expect("sends");
        other.recv(&mut [0; 512]).await.expect("is answered");
        if tier.metric("podlocal_dns_upstream_budget_exhausted_total").await > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn names_that_are_never_answered_use_up_what_their_source_has() {
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
async fn names_that_are_never_answered_over_tcp_use_up_what_their_source_has() {
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
