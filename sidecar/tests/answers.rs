//! The built proxy in front of a scripted upstream: the answers of clients, and the queries to the upstream.

mod support;

use std::time::Duration;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use tokio::task::JoinSet;

use support::{
    RecordType, ResponseCode, Script, a, address, ask, ask_tcp, name, query, reply, start, truncated,
};

#[tokio::test]
async fn the_second_query_is_answered_from_the_cache_over_udp_and_tcp() {
    let (upstream, proxy) = start(|query, _| address(query), &[]).await;
    let first = proxy.ask("www.example.", RecordType::A).await;
    let second = ask(proxy.dns, &query("WWW.Example.", RecordType::A, 2, Some(1232))).await;
    let third = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 3, None)).await;
    assert_eq!(upstream.asked(), 1);
    assert_eq!(first.answers, third.answers);
    assert_eq!(second.queries[0].name().to_string(), "WWW.Example.");
    assert!(second.edns.is_some() && first.edns.is_none());
    assert_eq!([proxy.outcomes("miss").await, proxy.outcomes("hit").await], [1, 2]);
    for (series, count) in [
        ("query_wait_duration_seconds_count", 1), // a hit is not timed
        ("upstream_responses_total{server=\"upstream\",rcode=\"noerror\"}", 1),
        ("upstream_responses_total{server=\"upstream\",rcode=\"servfail\"}", 0),
        ("cache_entries", 1),
    ] {
        assert_eq!(proxy.metric(&format!("podlocal_dns_{series}")).await, count, "{series}");
    }
}

#[tokio::test]
async fn coalesced_clients_get_their_own_id_case_and_size() {
    let answer = |query: &_| reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 50]);
    // Well before a retransmission.
    let later = Duration::from_millis(50);
    let (upstream, proxy) = start(move |query, _| Script::Later(later, answer(query)), &[]).await;
    let dns = proxy.dns;
    let mut clients = JoinSet::new();
    for id in 0..200 {
        let name = ["www.example.", "WWW.example.", "www.EXAMPLE."][usize::from(id % 3)];
        let edns = [None, Some(1232)][usize::from(id % 2)];
        clients.spawn(async move { (name, edns, id, ask(dns, &query(name, RecordType::A, id, edns)).await) });
    }
    for (name, edns, id, answer) in clients.join_all().await {
        assert_eq!((answer.metadata.id, answer.queries[0].name().to_string().as_str()), (id, name));
        // 50 records of 16 bytes do not fit into 512.
        assert_eq!((answer.edns.is_some(), answer.metadata.truncation), (edns.is_some(), edns.is_none()));
    }
    assert_eq!((upstream.asked(), proxy.outcomes("miss").await), (1, 1));
    let coalesced = proxy.outcomes("coalesced").await;
    assert_eq!(coalesced + proxy.outcomes("hit").await, 199);
    let waited = proxy.metric("podlocal_dns_query_wait_duration_seconds_count").await;
    assert_eq!((waited, proxy.metric("podlocal_dns_queries_waiting").await), (coalesced + 1, 0));
}

#[tokio::test]
async fn queries_that_arrive_during_the_answers_are_answered_too() {
    // Not cached, so that each wave needs a new exchange.
    let answer = |query: &_| reply(query, ResponseCode::NoError, vec![a("www.example.", 0)]);
    let (_upstream, proxy) = start(move |query, _| answer(query), &[]).await;
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
    assert_eq!(proxy.outcomes("upstream_failed").await, 0);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp_and_cut_for_each_client() {
    const PLAIN: Option<u16> = None;
    let sizes = [(PLAIN, false), (Some(512), false), (Some(1232), false), (Some(4096), true)];
    for (flags, sizes) in [
        (["--role", "pod"], sizes.as_slice()),
        (["--upstream-transport", "udp"], &sizes),
        (["--role", "shared"], &[(Some(4096), false)]), // at most 1232 bytes
    ] {
        let (upstream, proxy) = start(
            |query, by_tcp| {
                let text: Vec<Vec<u8>> = (0..16).map(|block| vec![b'a' + block; 250]).collect();
                let text = RData::TXT(TXT::from_bytes(text.iter().map(Vec::as_slice).collect()));
                let record = Record::from_rdata(name("large.example."), 60, text);
                if by_tcp { reply(query, ResponseCode::NoError, vec![record]) } else { truncated(query) }
            },
            &flags,
        )
        .await;
        let question = |edns| query("large.example.", RecordType::TXT, 1, edns);
        for (edns, is_whole) in sizes {
            let answer = ask(proxy.dns, &question(*edns)).await;
            let expected = (!is_whole, usize::from(*is_whole));
            assert_eq!((answer.metadata.truncation, answer.answers.len()), expected, "{flags:?} {edns:?}");
        }
        let answer = ask_tcp(proxy.dns, &question(None)).await;
        assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 1), "{flags:?}");
        assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (1, 1), "{flags:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_ignores_the_edns_size_is_understood() {
    let answer = |query: &_| {
        reply(query, ResponseCode::NoError, (0..1000).map(|ttl| a("www.example.", 60 + ttl)).collect())
    };
    let (upstream, proxy) = start(move |query, _| answer(query), &[]).await;
    let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!((answer.answers.len(), upstream.asked()), (1000, 1), "one datagram of 16 kB");
}
