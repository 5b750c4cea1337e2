//! The checks, with servers that answer, deny or fail.

use super::*;
use crate::review::cluster_state::{ClusterFlags, Tier};

async fn server(code: ResponseCode) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).expect("a question");
            let mut forged = question.clone().into_response();
            forged.metadata.id ^= 1;
            let mut answer = question.into_response();
            answer.metadata.response_code = code;
            for message in [forged, answer] {
                let _ = socket.send_to(&message.to_vec().expect("bytes"), client).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn answers_for_impossible_names_disable_local_nxdomain() {
    let (cluster, known) = watch::channel(Cluster::new(&ClusterFlags::default(), ""));
    for (code, check, expected) in [
        (ResponseCode::NXDomain, DnsCheck::NxDomain, false),
        (ResponseCode::NoError, DnsCheck::Answered, true),
        (ResponseCode::ServFail, DnsCheck::Failed, true),
        (ResponseCode::NXDomain, DnsCheck::NxDomain, false),
    ] {
        let found = check_servers(&[server(code).await], "cluster.local").await;
        assert_eq!(found, check);
        store_impossible_names(&cluster, found);
        assert_eq!(known.borrow().serves_impossible_names, expected, "{code}");
    }
}

#[tokio::test]
async fn tier_is_used_only_if_it_also_serves_impossible_names() {
    let mut cluster = Cluster::new(&ClusterFlags::default(), "");
    cluster.dns = vec![server(ResponseCode::NoError).await];
    let denying = Tier::at(vec![server(ResponseCode::NXDomain).await]);
    let serving = Tier::at(vec![server(ResponseCode::NoError).await]);
    cluster.shared_tier = denying.clone();
    let (cluster, mut known) = watch::channel(cluster);
    let cluster = Arc::new(cluster);
    tokio::spawn(run(cluster.clone(), Arc::new(Metrics::default()), INTERVAL));
    for (tier, serves) in [(&denying, false), (&serving, true), (&denying, false)] {
        cluster.send_modify(|cluster| cluster.shared_tier = tier.clone());
        let is_known = |cluster: &Cluster| {
            cluster.shared_tier == Tier { serves_impossible_names: Some(serves), ..tier.clone() }
        };
        let found = known.wait_for(is_known);
        let found = tokio::time::timeout(Duration::from_secs(20), found).await.expect("asked at once");
        assert_eq!(found.expect("it runs").tier_for_new_pods().is_empty(), !serves);
    }
}

#[test]
fn check_result_of_a_replaced_tier_is_discarded() {
    let tier = Tier::at(vec![SocketAddr::from(([10, 96, 0, 53], 53))]);
    let flags = ClusterFlags { shared_tier: tier.addresses.clone(), ..ClusterFlags::default() };
    let (cluster, known) = watch::channel(Cluster::new(&flags, ""));
    let says = || known.borrow().shared_tier.serves_impossible_names;
    store_tier(&cluster, &[], DnsCheck::Answered);
    assert_eq!(says(), None);
    for (check, expected) in [
        (DnsCheck::Answered, Some(true)),
        (DnsCheck::Failed, Some(true)),
        (DnsCheck::NxDomain, Some(false)),
        (DnsCheck::Failed, Some(false)),
    ] {
        store_tier(&cluster, &tier.addresses, check);
        assert_eq!(says(), expected, "{check:?}");
    }
}

#[tokio::test]
async fn namespace_rule_follows_the_answer_for_default() {
    let (cluster, known) = watch::channel(Cluster::new(&ClusterFlags::default(), ""));
    assert!(!known.borrow().admits_namespaces, "nobody has seen it");
    for (code, admits, expected) in [
        (ResponseCode::ServFail, None, false),
        (ResponseCode::NoError, Some(true), true),
        (ResponseCode::Refused, None, true),
        (ResponseCode::NXDomain, Some(false), false),
    ] {
        let found = admits_namespaces(&[server(code).await], "cluster.local").await;
        assert_eq!(found, admits);
        store_namespaces(&cluster, found);
        assert_eq!(known.borrow().admits_namespaces, expected, "{code}");
    }
    let servers = [server(ResponseCode::Refused).await, server(ResponseCode::NoError).await];
    assert_eq!(admits_namespaces(&servers, "corp.internal").await, Some(true));
}

#[tokio::test]
async fn failing_server_is_skipped() {
    let servers = [server(ResponseCode::Refused).await, server(ResponseCode::NXDomain).await];
    assert_eq!(check_servers(&servers, "corp.internal").await, DnsCheck::NxDomain);
    assert_eq!(check_servers(&[], "corp.internal").await, DnsCheck::Failed);
}

#[test]
fn one_nxdomain_alone_is_inconclusive() {
    let (nx, no) = (Some(ResponseCode::NXDomain), Some(ResponseCode::NoError));
    assert_eq!(
        [evaluate([nx, None]), evaluate([None, no]), evaluate([no, nx])],
        [DnsCheck::Failed, DnsCheck::Answered, DnsCheck::Answered]
    );
    let names = impossible_names(7, "cluster.local");
    assert_eq!(names[1], "a.b.c.d.podlocal-dns-check-00000007.svc.cluster.local.");
    assert!(names.iter().all(|name| Name::from_ascii(name).is_ok()));
}
