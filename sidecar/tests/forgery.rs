//! What somebody who forges answers gains, who can send datagrams as if from the upstream but does not see our questions.

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use support::{PATIENCE, Proxy, Script, Upstream, a, ask, query, reply};

const TYPES_PER_NAME: &str = "podlocal_dns_limits_reached_total{limit=\"types_per_name\"}";

#[tokio::test]
async fn a_thousand_types_of_one_name_are_eight_chances_and_addresses_are_answered_meanwhile() {
    let upstream = Upstream::start(|query, _| {
        let is_address = matches!(query.queries[0].query_type(), RecordType::A | RecordType::AAAA);
        let name = query.queries[0].name().to_string().to_lowercase();
        if is_address || !name.starts_with("victim.") {
            Script::Send(vec![reply(query, ResponseCode::NoError, vec![a(&name, 60)])])
        } else {
            Script::Silence
        }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(proxy.dns).await.expect("connects");
    let mut buffer = [0; 512];
    for number in 0..1000_u16 {
        let rtype = RecordType::Unknown(1000 + number);
        // However the name is spelled, and with DO or without.
        let name = if number % 2 == 0 { "victim.example." } else { "Victim.Example." };
        let edns = (number % 3 == 0).then_some(1232);
        socket.send(&query(name, rtype, number, edns).to_vec().expect("encodes")).await.expect("sends");
        if number >= 8 {
            timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("at once").expect("SERVFAIL");
            assert_eq!(buffer[3] & 0xf, 2);
        }
    }
    assert_eq!(proxy.metric(TYPES_PER_NAME).await, 992);
    assert_eq!(proxy.metric("podlocal_dns_flights").await, 8);
    for rtype in [RecordType::A, RecordType::AAAA] {
        let answer = ask(proxy.dns, &query("victim.example.", rtype, 1, None)).await;
        assert_eq!(answer.answers.len(), 1, "{rtype}");
    }
    let other = ask(proxy.dns, &query("other.example.", RecordType::TXT, 1, None)).await;
    assert_eq!(other.metadata.response_code, ResponseCode::NoError, "another name is not concerned");
}

#[tokio::test]
async fn what_clients_ask_together_is_within_the_bound() {
    let upstream = Upstream::start(|query, _| {
        let answer = reply(query, ResponseCode::NoError, vec![]);
        Script::Later(std::time::Duration::from_millis(300), answer)
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SRV, RecordType::TXT] {
        for edns in [None, Some(1232)] {
            let dns = proxy.dns;
            clients.spawn(async move { ask(dns, &query("www.example.", rtype, 1, edns)).await });
        }
    }
    for answer in clients.join_all().await {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }
    assert_eq!(proxy.metric(TYPES_PER_NAME).await, 0);
}

#[tokio::test]
async fn an_injected_nxdomain_for_an_odd_type_denies_no_address() {
    let upstream = Upstream::start(|query, _| {
        let name = query.queries[0].name().to_string();
        let is_odd = query.queries[0].query_type() == RecordType::Unknown(256);
        let (rcode, answers) = if is_odd {
            (ResponseCode::NXDomain, vec![])
        } else {
            (ResponseCode::NoError, vec![a(&name, 60)])
        };
        Script::Send(vec![reply(query, rcode, answers)])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let ask = |rtype| async move { ask(dns, &query("www.example.", rtype, 1, None)).await };
    let odd = ask(RecordType::Unknown(256)).await;
    assert_eq!(odd.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(RecordType::A).await.answers.len(), 1);
}
