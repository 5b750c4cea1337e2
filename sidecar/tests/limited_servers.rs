//! The built proxy in front of servers and paths with limits of their own: no EDNS, no TCP, truncated
//! answers, failures without a question.

mod support;

use hickory_proto::op::{Edns, Message};
use tokio::net::UdpSocket;

use support::{
    Proxy, RecordType, ResponseCode, Script, Upstream, a, address, ask, encode, queried_name, query, reply,
    start, without_records,
};

#[tokio::test]
async fn the_records_of_a_truncated_answer_are_served_when_tcp_fails() {
    let script = |query: &Message, by_tcp| {
        let mut answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 3]);
        answer.metadata.truncation = true;
        let mut bytes = encode(answer, query);
        bytes.truncate(bytes.len() - 5);
        if by_tcp { Script::Close } else { Script::Bytes(vec![bytes]) }
    };
    let (_upstream, proxy) = start(script, &[]).await;
    let answer = proxy.ask("www.example.", RecordType::A).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (2, true));
}

#[tokio::test]
async fn after_a_refusal_or_a_failure_without_a_question_the_next_server_is_queried() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("an address");
    for transport in ["udp", "tcp"] {
        let failing = Upstream::start(|query, _| {
            let [high, low] = query.metadata.id.to_be_bytes();
            Script::Bytes(vec![vec![high, low, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]])
        })
        .await;
        let good = Upstream::start(|query, _| address(query)).await;
        let flags = ["--upstream-transport", transport];
        let proxy = Proxy::start(&[closed, failing.address, good.address], &flags).await;
        proxy.finds("www.example.").await;
        let failures =
            format!("podlocal_dns_upstream_attempts_total{{transport=\"{transport}\",result=\"failure\"}}");
        assert_eq!(proxy.metric(&failures).await, 1, "{transport}");
    }
}

#[tokio::test]
async fn a_server_that_rejects_edns_gets_later_queries_without_it() {
    use ResponseCode::{BADVERS, FormErr, NotImp, ServFail};
    for transport in ["udp", "tcp"] {
        for rcode in [FormErr, NotImp, ServFail, BADVERS] {
            let script = move |query: &Message, _| match query.edns {
                Some(_) => {
                    let mut answer = without_records(query, rcode);
                    answer.set_edns(Edns::new());
                    answer
                }
                None => address(query),
            };
            let (upstream, proxy) = start(script, &["--upstream-transport", transport]).await;
            let mut asked = Vec::new();
            for name in ["a.example.", "b.example.", "c.example.", "d.example."] {
                proxy.finds(name).await;
                asked.push(upstream.asked());
            }
            assert_eq!(asked, [2, 4, 5, 6], "{rcode} over {transport}");
        }
    }
}

#[tokio::test]
async fn a_firewall_that_drops_edns_delays_two_queries() {
    let script = |query: &Message, _| {
        if query.edns.is_some() { Script::Silence } else { address(query).into() }
    };
    let (upstream, proxy) = start(script, &[]).await;
    for name in ["a.example.", "b.example."] {
        proxy.finds(name).await;
    }
    let asked = upstream.asked();
    assert!(asked >= 4, "each was sent again: {asked}");
    assert!(proxy.metric("podlocal_dns_upstream_retransmissions_total").await >= 2);
    for name in ["c.example.", "d.example."] {
        proxy.finds(name).await;
    }
    assert_eq!(upstream.asked(), asked + 2);
}

#[tokio::test]
async fn a_server_that_supports_edns_is_queried_once_when_it_fails() {
    let script = |query: &Message, _| match queried_name(query).as_str() {
        "www.example." => address(query),
        _ => without_records(query, ResponseCode::ServFail),
    };
    let (upstream, proxy) = start(script, &[]).await;
    proxy.finds("www.example.").await;
    for name in ["a.example.", "b.example.", "c.example."] {
        assert_eq!(proxy.rcode(name).await, ResponseCode::ServFail);
    }
    assert_eq!(upstream.asked(), 1 + 3);
}

#[tokio::test]
async fn queries_for_clients_with_dnssec_always_carry_edns() {
    let script = |query: &Message, _| match &query.edns {
        Some(edns) if !edns.flags().dnssec_ok => without_records(query, ResponseCode::FormErr),
        _ => address(query),
    };
    let (upstream, proxy) = start(script, &[]).await;
    for name in ["a.example.", "b.example.", "c.example."] {
        proxy.finds(name).await;
    }
    let asked = upstream.asked();
    let mut wants_dnssec = query("www.example.", RecordType::A, 1, Some(1232));
    wants_dnssec.edns.as_mut().expect("EDNS").set_dnssec_ok(true);
    assert_eq!(ask(proxy.dns, &wants_dnssec).await.answers.len(), 1);
    assert_eq!(upstream.asked(), asked + 1);
}
