//! The built proxy with forward zones.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use hickory_proto::op::Message;
use podlocal_dns::report::target;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use support::{PATIENCE, Proxy, RecordType, ResponseCode, Script, Upstream, address, query, without_records};

/// Servers that have an address for every name.
async fn answering<const COUNT: usize>() -> [Upstream; COUNT] {
    let mut servers = Vec::new();
    for _ in 0..COUNT {
        servers.push(Upstream::start(|query, _| address(query)).await);
    }
    servers.try_into().ok().expect("as many")
}

async fn silent() -> Upstream {
    Upstream::start(|_, _| Script::Silence).await
}

/// The names for which a server was queried, in order and once each.
fn names(server: &Upstream) -> Vec<String> {
    let names: BTreeSet<_> = server.names().iter().map(|name| name.to_lowercase()).collect();
    names.into_iter().collect()
}

fn zone(name: &str, server: &Upstream) -> String {
    format!("{name}={}", server.address)
}

async fn proxy(cluster: &Upstream, zones: &[String], flags: &[&str]) -> Proxy {
    let zones = zones.join(",");
    Proxy::start(&[cluster.address], &[&["--forward-zones", &zones][..], flags].concat()).await
}

#[tokio::test]
async fn names_of_a_zone_go_to_its_servers_and_others_to_cluster_dns() {
    let [cluster, consul, corp, lab] = answering().await;
    let zones = [zone("consul", &consul), zone("corp.example", &corp), zone("lab.corp.example", &lab)];
    let proxy = proxy(&cluster, &zones, &["--namespace", "own"]).await;
    for name in [
        "consul.",
        "Web.Service.CONSUL.",
        "db.corp.example.",
        "lab.corp.example.",
        "a.lab.corp.example.",
        "notconsul.",
        "db.own.svc.cluster.local.",
    ] {
        assert_eq!(proxy.rcode(name).await, ResponseCode::NoError, "{name}");
    }
    assert_eq!(names(&consul), ["consul.", "web.service.consul."]);
    assert_eq!(names(&corp), ["db.corp.example."]);
    assert_eq!(names(&lab), ["a.lab.corp.example.", "lab.corp.example."]);
    assert_eq!(names(&cluster), ["db.own.svc.cluster.local.", "notconsul."]);
    for (series, count) in [
        ("forward_zone_responses_total{zone=\"consul\",rcode=\"noerror\"}", 2),
        ("forward_zone_attempts_total{zone=\"corp.example\",transport=\"udp\",result=\"answer\"}", 1),
        ("forward_zone_attempt_duration_seconds_count{zone=\"lab.corp.example\"}", 2),
        ("upstream_responses_total{server=\"upstream\",rcode=\"noerror\"}", 2),
        ("forward_zone_unavailable{zone=\"consul\"}", 0),
        (&format!("forward_zone_server_healthy{{zone=\"consul\",address=\"{}\"}}", consul.address), 1),
    ] {
        assert_eq!(proxy.metric(&format!("podlocal_dns_{series}")).await, count, "{series}");
    }
}

#[tokio::test]
async fn a_silent_zone_does_not_affect_other_names() {
    let ([cluster], consul) = (answering().await, silent().await);
    let proxy = proxy(&cluster, &[zone("consul", &consul)], &["--namespace", "own"]).await;
    let others = async {
        // The proxy knows that it is down before its client gives up.
        proxy.reaches("podlocal_dns_forward_zone_unavailable{zone=\"consul\"}", 1).await;
        assert_eq!(proxy.metric("podlocal_dns_upstream_unavailable").await, 0);
        for name in ["db.own.svc.cluster.local.", "www.example."] {
            assert_eq!(proxy.rcode(name).await, ResponseCode::NoError);
        }
    };
    let (failed, ()) = tokio::join!(proxy.rcode("web.service.consul."), others);
    assert_eq!(failed, ResponseCode::ServFail);
    assert_eq!(names(&cluster), ["db.own.svc.cluster.local.", "www.example."], "nothing of the zone");
}

/// Sends queries for so many names of that ending at once, which are never answered, and waits until the rest
/// of them are refused.
async fn fill(proxy: &Proxy, ending: &str, count: usize, places: u64) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    for number in 0..count {
        let query = query(&format!("n{number}.{ending}"), RecordType::A, 1, None);
        socket.send_to(&query.to_vec().expect("encodes"), proxy.dns).await.expect("sends");
    }
    let is_full = async {
        while proxy.limit_reached("in_flight").await < count as u64 - places {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_full).await.expect("the rest is refused at once");
    socket
}

#[tokio::test]
async fn queries_in_flight_take_no_places_of_another_zone() {
    let ([good], silent) = (answering().await, silent().await);
    for (cluster, consul, full, count, places, free) in [
        (&silent, &good, "example.", 30, 20, "web.service.consul."),
        (&good, &silent, "consul.", 40, 32, "www.example."),
    ] {
        let proxy = proxy(cluster, &[zone("consul", consul)], &["--max-in-flight", "20"]).await;
        let _waiting = fill(&proxy, full, count, places).await;
        assert_eq!(proxy.rcode(free).await, ResponseCode::NoError);
    }
}

/// The tier belongs to the cluster: it does not know the zone, and its probes use no name of the zone.
#[tokio::test]
async fn tier_and_backup_are_not_queried_for_names_of_a_zone() {
    let [tier, cluster, backup] = answering().await;
    let refused = |query: &Message, _| without_records(query, ResponseCode::Refused);
    let (first, second) = (Upstream::start(refused).await, Upstream::start(refused).await);
    let [tier_at, backup_at] = [&tier, &backup].map(|server| server.address.to_string());
    let zone = format!("{}+{}", zone("consul", &first), second.address);
    let flags = ["--shared-tier", &tier_at, "--backup-upstream", &backup_at];
    let proxy = proxy(&cluster, &[zone], &flags).await;
    assert_eq!(proxy.rcode("web.service.consul.").await, ResponseCode::ServFail);
    assert_eq!((names(&first).len(), names(&second).len()), (1, 1), "each server of the zone");
    assert_eq!(proxy.rcode("www.example.").await, ResponseCode::NoError);
    assert_eq!(names(&tier), ["www.example."]);
    assert_eq!((cluster.asked(), backup.asked()), (0, 0));
}

/// The tier is the same program.
#[tokio::test]
async fn a_shared_tier_serves_its_forward_zone_to_all_pods() {
    let [cluster, consul] = answering().await;
    let flags = ["--role", "shared", "--workers", "1"];
    let proxy = proxy(&cluster, &[zone("consul", &consul)], &flags).await;
    assert_eq!(proxy.rcode("web.service.consul.").await, ResponseCode::NoError);
    assert_eq!((names(&consul).len(), cluster.asked()), (1, 0));
}

#[tokio::test]
async fn lookup_and_stats_name_the_zone_that_answered() {
    let [cluster, consul] = answering().await;
    let proxy = proxy(&cluster, &[zone("consul", &consul)], &["--namespace", "own"]).await;
    let report = proxy.document(&target::lookup("web.service.consul.", "A")).await;
    let (by, address) = (&report["answered_by"]["upstream"], consul.address.to_string());
    for (field, expected) in [("zone", "consul."), ("server", &address), ("transport", "udp")] {
        assert_eq!(by[field], expected, "{by}");
    }
    assert!(report["steps"].to_string().contains(&format!("queries forward zone consul. {address}")));
    let stats = proxy.document(&target::stats(false)).await;
    let zone = &stats["forward_zones"][0];
    assert_eq!((&zone["zone"], &zone["upstream"]["attempts"]["answer"]), (&"consul.".into(), &1.into()));
    assert_eq!(zone["upstream"]["is_unavailable"], false, "{stats}");
    assert_eq!(stats["upstream"]["attempts"]["answer"], 0, "{stats}");
}
