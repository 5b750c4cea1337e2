//! The built proxy in front of servers and paths with limits of their own: no EDNS, no TCP, truncated
//! answers, failures without a question.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;

use support::{Proxy, Script, Upstream, a, answering, ask, ask_tcp, query, reply};

#[tokio::test]
async fn rfc6891_6_2_2_an_upstream_without_edns_is_queried_without() {
    let upstream = Upstream::start(|query, _| {
        let answer = match query.edns {
            Some(_) => reply(query, ResponseCode::FormErr, vec![]),
            None => reply(query, ResponseCode::NoError, vec![a("www.example.", 60)]),
        };
        Script::Send(vec![answer])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(upstream.asked(), 2);
}

#[tokio::test]
async fn a_truncated_answer_that_is_cut_inside_a_record_is_fetched_over_tcp() {
    for cut in [1, 8, 15, 17, 40] {
        let upstream = Upstream::start(move |query, by_tcp| {
            let mut answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 3]);
            answer.metadata.truncation = !by_tcp;
            answer.metadata.id = query.metadata.id;
            let mut bytes = answer.to_vec().expect("encodes");
            if !by_tcp {
                bytes.truncate(bytes.len() - cut);
            }
            Script::Bytes(vec![bytes])
        })
        .await;
        let proxy = Proxy::start(&[upstream.address], &[]).await;
        let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (3, false), "cut {cut}");
        assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (1, 1), "cut {cut}");
    }
}

#[tokio::test]
async fn the_records_of_a_truncated_answer_are_served_when_tcp_fails() {
    let upstream = Upstream::start(|query, by_tcp| {
        if by_tcp {
            return Script::Close;
        }
        let mut answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 3]);
        answer.metadata.truncation = true;
        answer.metadata.id = query.metadata.id;
        let mut bytes = answer.to_vec().expect("encodes");
        bytes.truncate(bytes.len() - 5);
        Script::Bytes(vec![bytes])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (2, true));
}

#[tokio::test]
async fn a_failure_without_a_question_is_accepted_immediately() {
    for transport in ["udp", "tcp"] {
        for (rcode, counts) in [(2, [0, 0]), (5, [0, 0]), (5, [1, 0]), (2, [1, 1]), (9, [0, 0])] {
            let failing = Upstream::start(move |query, _| {
                let [high, low] = query.metadata.id.to_be_bytes();
                let header = vec![high, low, 0x81, 0x80 | rcode, 0, counts[0], 0, 0, 0, 0, 0, counts[1]];
                Script::Bytes(vec![header])
            })
            .await;
            let good = Upstream::start(answering(60)).await;
            let upstreams = [failing.address, good.address];
            let proxy = Proxy::start(&upstreams, &["--upstream-transport", transport]).await;
            let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
            assert_eq!(answer.answers.len(), 1, "{transport}, RCODE {rcode}, counts {counts:?}");
            let failures = format!(
                "podlocal_dns_upstream_attempts_total{{transport=\"{transport}\",result=\"failure\"}}"
            );
            assert_eq!(proxy.metric(&failures).await, 1, "{transport}, RCODE {rcode}, counts {counts:?}");
        }
    }
}

/// An upstream that follows the script for queries with EDNS and answers all others.
async fn without_edns(rejects: impl Fn(&Message) -> Script + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |query, _| {
        if query.edns.is_some() {
            return rejects(query);
        }
        let name = query.queries[0].name().to_string();
        Script::Send(vec![reply(query, ResponseCode::NoError, vec![a(&name, 60)])])
    })
    .await
}

async fn is_answered(proxy: &Proxy, name: &str) {
    let answer = ask(proxy.dns, &query(name, RecordType::A, 1, None)).await;
    assert_eq!(answer.answers.len(), 1, "{name}");
}

#[tokio::test]
async fn a_server_that_rejects_edns_gets_later_queries_without_it() {
    for transport in ["udp", "tcp"] {
        for rcode in
            [ResponseCode::FormErr, ResponseCode::NotImp, ResponseCode::ServFail, ResponseCode::BADVERS]
        {
            let upstream = without_edns(move |query| {
                let mut answer = reply(query, rcode, vec![]);
                answer.set_edns(Edns::new());
                Script::Send(vec![answer])
            })
            .await;
            let proxy = Proxy::start(&[upstream.address], &["--upstream-transport", transport]).await;
            let mut asked = Vec::new();
            for name in ["a.example.", "b.example.", "c.example.", "d.example."] {
                is_answered(&proxy, name).await;
                asked.push(upstream.asked());
            }
            assert_eq!(asked, [2, 4, 5, 6], "{rcode} over {transport}");
        }
    }
}

#[tokio::test]
async fn a_firewall_that_drops_edns_delays_two_queries() {
    let upstream = without_edns(|_| Script::Silence).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for name in ["a.example.", "b.example."] {
        is_answered(&proxy, name).await;
    }
    let asked = upstream.asked();
    assert!(asked >= 4, "each was sent again: {asked}");
    for name in ["c.example.", "d.example."] {
        is_answered(&proxy, name).await;
    }
    assert_eq!(upstream.asked(), asked + 2);
}

#[tokio::test]
async fn a_server_that_supports_edns_is_queried_once_when_it_fails() {
    let upstream = Upstream::start(|query, _| {
        let is_good = query.queries[0].name().to_string().starts_with("www");
        let (rcode, answers) = if is_good {
            (ResponseCode::NoError, vec![a("www.example.", 60)])
        } else {
            (ResponseCode::ServFail, vec![])
        };
        Script::Send(vec![reply(query, rcode, answers)])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    is_answered(&proxy, "www.example.").await;
    for number in 0..5 {
        let name = format!("fails{number}.example.");
        let answer = ask(proxy.dns, &query(&name, RecordType::A, 1, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(upstream.asked(), 1 + 5);
}

#[tokio::test]
async fn queries_for_clients_with_dnssec_always_carry_edns() {
    let upstream = without_edns(|query| {
        let dnssec_ok = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let rcode = if dnssec_ok { ResponseCode::NoError } else { ResponseCode::FormErr };
        Script::Send(vec![reply(query, rcode, vec![a("www.example.", 60)])])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for name in ["a.example.", "b.example.", "c.example."] {
        is_answered(&proxy, name).await;
    }
    let asked = upstream.asked();
    let mut wants_dnssec = query("www.example.", RecordType::A, 1, Some(1232));
    wants_dnssec.edns.as_mut().expect("EDNS").set_dnssec_ok(true);
    assert_eq!(ask(proxy.dns, &wants_dnssec).await.answers.len(), 1);
    assert_eq!(upstream.asked(), asked + 1);
}

/// Some servers copy the ARCOUNT of the query, which counts its OPT record, and send none.
#[tokio::test]
async fn an_answer_with_too_high_counts_is_accepted() {
    for (authorities, additionals) in [(0, 1), (1, 0), (2, 3)] {
        let upstream = Upstream::start(move |query, _| {
            let mut answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60)]);
            answer.metadata.id = query.metadata.id;
            let mut bytes = answer.to_vec().expect("encodes");
            (bytes[9], bytes[11]) = (authorities, additionals);
            Script::Bytes(vec![bytes])
        })
        .await;
        let proxy = Proxy::start(&[upstream.address], &[]).await;
        for question in [
            query("www.example.", RecordType::A, 1, None),
            query("www.example.", RecordType::A, 2, Some(512)),
        ] {
            assert_eq!(ask(proxy.dns, &question).await.answers.len(), 1);
            assert_eq!(ask_tcp(proxy.dns, &question).await.answers.len(), 1);
        }
        assert_eq!(upstream.asked(), 1, "{authorities} and {additionals} records too many");
    }
}
