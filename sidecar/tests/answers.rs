//! The built proxy in front of a scripted upstream: the answers of clients, and the queries to the upstream.

mod support;

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::task::JoinSet;

use support::{Proxy, Script, Upstream, a, answering, ask, ask_tcp, query, reply};

#[tokio::test]
async fn the_second_query_is_answered_from_the_cache_over_udp_and_tcp() {
    let upstream = Upstream::start(answering(60)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let first = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    let second = ask(proxy.dns, &query("WWW.Example.", RecordType::A, 2, Some(1232))).await;
    let third = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 3, None)).await;
    assert_eq!(upstream.asked(), 1);
    assert_eq!(first.answers, third.answers);
    assert_eq!(second.queries[0].name().to_string(), "WWW.Example.");
    assert!(second.edns.is_some() && first.edns.is_none());
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"miss\"}").await, 1);
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"hit\"}").await, 2);
    assert_eq!(proxy.metric("podlocal_dns_query_wait_duration_seconds_count").await, 1, "a hit is not timed");
    let said =
        |rcode| format!("podlocal_dns_upstream_responses_total{{server=\"upstream\",rcode=\"{rcode}\"}}");
    assert_eq!([proxy.metric(&said("noerror")).await, proxy.metric(&said("servfail")).await], [1, 0]);
    assert_eq!(proxy.metric("podlocal_dns_cache_entries").await, 1);
}

#[tokio::test]
async fn two_hundred_identical_queries_reach_the_upstream_once() {
    let upstream = Upstream::start(|query, _| {
        let answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60)]);
        // Well before a retransmission.
        Script::Later(Duration::from_millis(50), answer)
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let mut clients = JoinSet::new();
    for id in 0..200 {
        clients.spawn(async move { ask(dns, &query("www.example.", RecordType::A, id, None)).await });
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.answers.len() == 1));
    assert_eq!(upstream.asked(), 1);
    let outcome = |name| format!("podlocal_dns_query_outcomes_total{{outcome=\"{name}\"}}");
    let joined = proxy.metric(&outcome("coalesced")).await;
    let hits = proxy.metric(&outcome("hit")).await;
    assert_eq!((joined + hits, proxy.metric(&outcome("miss")).await), (199, 1));
}

#[tokio::test]
async fn coalesced_clients_get_their_own_id_case_and_size() {
    let upstream = Upstream::start(|query, _| {
        let records = (0..50).map(|_| a("www.example.", 60)).collect();
        Script::Later(Duration::from_millis(50), reply(query, ResponseCode::NoError, records))
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let mut clients = JoinSet::new();
    for id in 0..60 {
        let (name, edns) =
            (["www.example.", "WWW.example.", "www.EXAMPLE."][usize::from(id % 3)], [None, Some(1232)]);
        let edns = edns[usize::from(id % 2)];
        clients.spawn(async move { (name, edns, id, ask(dns, &query(name, RecordType::A, id, edns)).await) });
    }
    for (name, edns, id, answer) in clients.join_all().await {
        assert_eq!((answer.metadata.id, answer.queries[0].name().to_string().as_str()), (id, name));
        // 50 records of 16 bytes do not fit into 512.
        assert_eq!((answer.edns.is_some(), answer.metadata.truncation), (edns.is_some(), edns.is_none()));
    }
    assert_eq!(upstream.asked(), 1);
    assert_eq!(proxy.metric("podlocal_dns_queries_waiting").await, 0);
}

#[tokio::test]
async fn queries_that_arrive_during_the_answers_are_answered_too() {
    // Not cached, so that each wave needs a new exchange.
    let upstream = Upstream::start(answering(0)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let mut clients = JoinSet::new();
    for id in 0..200 {
        clients.spawn(async move {
            for _ in 0..20 {
                let answer = ask(dns, &query("www.example.", RecordType::A, id, None)).await;
                assert_eq!(answer.answers.len(), 1);
            }
        });
    }
    clients.join_all().await;
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"upstream_failed\"}").await, 0);
}

#[tokio::test]
async fn a_silent_upstream_fails_all_waiters_once_and_together() {
    let upstream = Upstream::start(|_, _| Script::Silence).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let mut clients = JoinSet::new();
    for id in 0..50 {
        clients.spawn(async move { ask(dns, &query("www.example.", RecordType::A, id, None)).await });
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.metadata.response_code == ResponseCode::ServFail));
    // After 1, 3, 6.5, 10 and 13.5 s, each with a jitter, until 15 s.
    let asked = upstream.asked();
    assert!((5..=6).contains(&asked), "{asked}: the transmissions of one flight, not those of each client");
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"upstream_failed\"}").await, 50);
    let waited = |series| format!("podlocal_dns_query_wait_duration_seconds_{series}");
    assert_eq!(proxy.metric(&waited("count")).await, 50, "each of them, and by its own wait");
    assert_eq!(proxy.metric(&waited("bucket{le=\"2.0\"}")).await, 0);
}

#[tokio::test]
async fn a_negative_answer_is_cached_with_its_soa() {
    let upstream = Upstream::start(|query, _| {
        let mut answer = reply(query, ResponseCode::NXDomain, vec![]);
        let name = || Name::from_ascii("example.").expect("a name");
        let soa = SOA::new(name(), name(), 1, 1, 1, 1, 20);
        answer.insert_authorities(vec![Record::from_rdata(name(), 300, RData::SOA(soa))]);
        Script::Send(vec![answer])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for id in [1, 2] {
        let answer = ask(proxy.dns, &query("missing.example.", RecordType::A, id, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert!(
            (1..=20).contains(&answer.authorities[0].ttl),
            "RFC 2308 section 5: {}",
            answer.authorities[0].ttl
        );
    }
    assert_eq!(upstream.asked(), 1);
}

/// An upstream with a TXT record of 4 kB, which it truncates over UDP.
async fn large() -> Upstream {
    Upstream::start(|query, by_tcp| {
        let text: Vec<Vec<u8>> = (0..16).map(|block| vec![b'a' + block; 250]).collect();
        let text = RData::TXT(TXT::from_bytes(text.iter().map(Vec::as_slice).collect()));
        let mut answer = reply(query, ResponseCode::NoError, vec![]);
        if by_tcp {
            let name = Name::from_ascii("large.example.").expect("a name");
            answer.insert_answers(vec![Record::from_rdata(name, 60, text)]);
        } else {
            answer.metadata.truncation = true;
        }
        Script::Send(vec![answer])
    })
    .await
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp_and_cut_for_each_client() {
    let upstream = large().await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for (edns, whole) in [(None, false), (Some(512), false), (Some(1232), false), (Some(4096), true)] {
        let answer = ask(proxy.dns, &query("large.example.", RecordType::TXT, 1, edns)).await;
        assert_eq!(
            (answer.metadata.truncation, answer.answers.len()),
            (!whole, usize::from(whole)),
            "{edns:?}"
        );
    }
    let answer = ask_tcp(proxy.dns, &query("large.example.", RecordType::TXT, 2, None)).await;
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(upstream.asked(), 2, "once by UDP, once by TCP");
}

#[tokio::test]
async fn in_the_shared_role_udp_answers_have_1232_bytes_at_most() {
    let upstream = large().await;
    let proxy = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let question = query("large.example.", RecordType::TXT, 1, Some(4096));
    let answer = ask(proxy.dns, &question).await;
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    assert_eq!(ask_tcp(proxy.dns, &question).await.answers.len(), 1);
}

#[tokio::test]
async fn an_upstream_that_ignores_the_edns_size_is_understood() {
    let upstream = Upstream::start(|query, _| {
        let answers = (0..1000).map(|ttl| a("www.example.", 60 + ttl)).collect();
        Script::Send(vec![reply(query, ResponseCode::NoError, answers)])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.answers.len(), 1000, "one datagram of 16 kB");
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn rfc3597_unknown_types_and_classes_pass_byte_for_byte() {
    let data: Vec<u8> = (0..=255).collect();
    let expected = data.clone();
    let upstream = Upstream::start(move |query, _| {
        let unknown = RData::Unknown { code: RecordType::Unknown(65399), rdata: NULL::with(data.clone()) };
        let record = Record::from_rdata(Name::from_ascii("odd.example.").expect("a name"), 60, unknown);
        Script::Send(vec![reply(query, ResponseCode::NoError, vec![record])])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for id in [1, 2] {
        let answer = ask(proxy.dns, &query("odd.example.", RecordType::Unknown(65399), id, Some(1232))).await;
        let RData::Unknown { rdata, .. } = &answer.answers[0].data else { panic!("another type") };
        assert_eq!(rdata.anything, expected);
    }
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn a_query_for_a_reserved_type_does_not_affect_other_types() {
    let upstream = Upstream::start(|query, _| {
        let is_address = query.queries[0].query_type() == RecordType::A;
        let answers = if is_address { vec![a("www.example.", 60)] } else { vec![] };
        let mut answer = reply(query, ResponseCode::NoError, answers);
        if !is_address {
            let zone = Name::from_ascii("example.").expect("a name");
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 30);
            answer.insert_authorities(vec![Record::from_rdata(zone, 30, RData::SOA(soa))]);
        }
        Script::Send(vec![answer])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for kind in [0, 65535, 128, 250].map(RecordType::from) {
        let reserved = query("www.example.", kind, 1, None);
        assert_eq!(ask(proxy.dns, &reserved).await.metadata.response_code, ResponseCode::FormErr, "{kind}");
        let by_tcp = ask_tcp(proxy.dns, &reserved).await;
        assert_eq!(by_tcp.metadata.response_code, ResponseCode::FormErr, "{kind}");
        let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 2, None)).await;
        assert_eq!(answer.answers.len(), 1, "after {kind}");
    }
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn rfc5452_9_1_after_forged_answers_the_true_one_comes_over_tcp() {
    let upstream = Upstream::start(|query, _| {
        let forged = |id: u16, name: &str| {
            let mut message =
                reply(query, ResponseCode::NoError, vec![a("www.example.", 60), a("forged.example.", 60)]);
            message.metadata.id = query.metadata.id ^ id;
            message.queries[0].set_name(Name::from_ascii(name).expect("a name"));
            message
        };
        let messages = vec![
            forged(1, "www.example."),
            forged(0, "www.elsewhere."),
            reply(query, ResponseCode::NoError, vec![a("www.example.", 60)]),
        ];
        Script::Send(messages)
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.answers.len(), 1, "the answer with one record is the true one");
    assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (1, 1));
}

#[tokio::test]
async fn the_next_upstream_is_queried_when_one_fails_or_refuses() {
    let failing =
        Upstream::start(|query, _| Script::Send(vec![reply(query, ResponseCode::ServFail, vec![])])).await;
    let good = Upstream::start(answering(60)).await;
    let closed = {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        socket.local_addr().expect("an address")
    };
    let proxy = Proxy::start(&[closed, failing.address, good.address], &[]).await;
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.answers.len(), 1);
    // The failing server is queried twice, because EDNS may be the cause.
    assert_eq!((failing.asked(), good.asked()), (2, 1));
}

#[tokio::test]
async fn refused_from_every_upstream_is_servfail_and_cached() {
    let upstream =
        Upstream::start(|query, _| Script::Send(vec![reply(query, ResponseCode::Refused, vec![])])).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for id in [1, 2] {
        let answer = ask(proxy.dns, &query("www.example.", RecordType::A, id, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(upstream.asked(), 1);
}
