//! The built proxy in front of cluster DNS and of a server of the pod's own that knows other names.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use support::{Proxy, Script, Upstream, a, ask, query, reply};

const SERVICE: &str = "db.prod.svc.cluster.local.";
const OUTSIDE: &str = "www.example.";

/// A public server: it knows the outside name and answers NXDOMAIN for the Service.
async fn public() -> Upstream {
    Upstream::start(|query, _| {
        let name = query.queries[0].name().to_string();
        let answer = match name.as_str() {
            OUTSIDE if query.queries[0].query_type() == RecordType::A => vec![a(OUTSIDE, 60)],
            OUTSIDE => vec![],
            _ => return Script::Send(vec![reply(query, ResponseCode::NXDomain, vec![])]),
        };
        Script::Send(vec![reply(query, ResponseCode::NoError, answer)])
    })
    .await
}

async fn in_front_of(first: &Upstream, backup: &Upstream) -> Proxy {
    Proxy::start(&[first.address], &["--backup-upstream", &backup.address.to_string()]).await
}

/// A cluster DNS that answers every query with that RCODE.
async fn saying(rcode: ResponseCode) -> Upstream {
    Upstream::start(move |query, _| Script::Send(vec![reply(query, rcode, vec![])])).await
}

async fn outcome(proxy: &Proxy, name: &str, kind: RecordType) -> (ResponseCode, usize) {
    let answer = ask(proxy.dns, &query(name, kind, 1, None)).await;
    (answer.metadata.response_code, answer.answers.len())
}

#[tokio::test]
async fn a_slow_or_lossy_cluster_dns_is_the_only_one_queried() {
    for is_lossy in [false, true] {
        let sent = AtomicU32::new(0);
        let first = Upstream::start(move |query, by_tcp| {
            let name = query.queries[0].name().to_string();
            let answer = reply(query, ResponseCode::NoError, vec![a(&name, 1)]);
            match is_lossy {
                true if !by_tcp && sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Script::Silence,
                true => Script::Send(vec![answer]),
                false => Script::Later(Duration::from_millis(300), answer),
            }
        })
        .await;
        let backup = public().await;
        let proxy = in_front_of(&first, &backup).await;
        for number in 0..4 {
            let name = format!("db-{number}.prod.svc.cluster.local.");
            assert_eq!(outcome(&proxy, &name, RecordType::A).await, (ResponseCode::NoError, 1), "{is_lossy}");
        }
        assert_eq!(backup.asked(), 0, "{is_lossy}");
    }
}

#[tokio::test]
async fn with_a_dead_cluster_dns_only_outside_names_are_answered() {
    let (first, backup) = (Upstream::start(|_, _| Script::Silence).await, public().await);
    let proxy = in_front_of(&first, &backup).await;
    let (service, address, no_address) = tokio::join!(
        outcome(&proxy, SERVICE, RecordType::A),
        outcome(&proxy, OUTSIDE, RecordType::A),
        outcome(&proxy, OUTSIDE, RecordType::AAAA),
    );
    assert_eq!(service, (ResponseCode::ServFail, 0), "it may exist");
    assert_eq!((address, no_address), ((ResponseCode::NoError, 1), (ResponseCode::NoError, 0)));
    let denials = "podlocal_dns_upstream_attempts_total{transport=\"udp\",result=\"negative_ignored\"}";
    assert_eq!(proxy.metric(denials).await, 1);
}

#[tokio::test]
async fn a_failing_cluster_dns_leaves_the_query_to_the_backup() {
    let (first, backup) = (saying(ResponseCode::Refused).await, public().await);
    let proxy = in_front_of(&first, &backup).await;
    assert_eq!(outcome(&proxy, OUTSIDE, RecordType::A).await, (ResponseCode::NoError, 1));
    assert_eq!(outcome(&proxy, SERVICE, RecordType::A).await, (ResponseCode::ServFail, 0));
}

#[tokio::test]
async fn nxdomain_of_cluster_dns_is_final() {
    let (first, backup) = (saying(ResponseCode::NXDomain).await, public().await);
    let proxy = in_front_of(&first, &backup).await;
    assert_eq!(outcome(&proxy, OUTSIDE, RecordType::A).await, (ResponseCode::NXDomain, 0));
    assert_eq!(backup.asked(), 0);
}
