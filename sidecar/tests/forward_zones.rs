//! The built proxy with forward zones.

mod support;

use std::sync::Arc;
use std::sync::Mutex;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use podlocal_dns::report::target;
use tokio::net::UdpSocket;

use support::{PATIENCE, Proxy, Script, Upstream, a, ask, limit_reached, program, query, reply};

/// A server that records the names for which it was queried.
struct Recorded {
    server: Upstream,
    names: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    async fn start(script: impl Fn(&Message, &str) -> Script + Send + Sync + 'static) -> Self {
        let names = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&names);
        let server = Upstream::start(move |query, _| {
            let name = query.queries[0].name().to_string().to_lowercase();
            heard.lock().expect("no panics").push(name.clone());
            script(query, &name)
        });
        Self { server: server.await, names }
    }

    /// A server that has an address for every name.
    async fn answering() -> Self {
        Self::start(|query, name| Script::Send(vec![reply(query, ResponseCode::NoError, vec![a(name, 60)])]))
            .await
    }

    /// A server that answers every query with that RCODE.
    async fn saying(rcode: ResponseCode) -> Self {
        Self::start(move |query, _| Script::Send(vec![reply(query, rcode, vec![])])).await
    }

    async fn silent() -> Self {
        Self::start(|_, _| Script::Silence).await
    }

    /// The names for which it was queried since the last call, in order and once each.
    fn asked(&self) -> Vec<String> {
        let mut names = std::mem::take(&mut *self.names.lock().expect("no panics"));
        names.sort();
        names.dedup();
        names
    }

    fn as_zone(&self, zone: &str) -> String {
        format!("{zone}={}", self.server.address)
    }
}

async fn proxy(cluster: &Recorded, zones: &[String]) -> Proxy {
    let zones = zones.join(",");
    Proxy::start(&[cluster.server.address], &["--namespace", "own", "--forward-zones", &zones]).await
}

async fn rcode(proxy: &Proxy, name: &str) -> ResponseCode {
    ask(proxy.dns, &query(name, RecordType::A, 1, None)).await.metadata.response_code
}

#[tokio::test]
async fn names_of_a_zone_go_to_its_servers_and_others_to_cluster_dns() {
    let [cluster, consul, corp, lab] = [
        Recorded::answering().await,
        Recorded::answering().await,
        Recorded::answering().await,
        Recorded::answering().await,
    ];
    let zones = [consul.as_zone("consul"), corp.as_zone("corp.example"), lab.as_zone("lab.corp.example")];
    let proxy = proxy(&cluster, &zones).await;
    for name in [
        "consul.",
        "Web.Service.CONSUL.",
        "db.corp.example.",
        "lab.corp.example.",
        "a.lab.corp.example.",
        "notconsul.",
        "db.own.svc.cluster.local.",
    ] {
        assert_eq!(rcode(&proxy, name).await, ResponseCode::NoError, "{name}");
    }
    assert_eq!(consul.asked(), ["consul.", "web.service.consul."]);
    assert_eq!(corp.asked(), ["db.corp.example."]);
    assert_eq!(lab.asked(), ["a.lab.corp.example.", "lab.corp.example."]);
    assert_eq!(cluster.asked(), ["db.own.svc.cluster.local.", "notconsul."]);
    for (series, count) in [
        ("forward_zone_responses_total{zone=\"consul\",rcode=\"noerror\"}", 2),
        ("forward_zone_attempts_total{zone=\"corp.example\",transport=\"udp\",result=\"answer\"}", 1),
        ("forward_zone_attempt_duration_seconds_count{zone=\"lab.corp.example\"}", 2),
        ("upstream_responses_total{server=\"upstream\",rcode=\"noerror\"}", 2),
        ("forward_zone_unavailable{zone=\"consul\"}", 0),
        (&format!("forward_zone_server_healthy{{zone=\"consul\",address=\"{}\"}}", consul.server.address), 1),
    ] {
        assert_eq!(proxy.metric(&format!("podlocal_dns_{series}")).await, count, "{series}");
    }
}

#[tokio::test]
async fn a_silent_zone_does_not_affect_other_names() {
    let (cluster, consul) = (Recorded::answering().await, Recorded::silent().await);
    let proxy = proxy(&cluster, &[consul.as_zone("consul")]).await;
    let question = query("web.service.consul.", RecordType::A, 1, None);
    let failed = ask(proxy.dns, &question);
    let others = async {
        // The proxy knows that it is down before its client gives up.
        let is_down = async {
            while proxy.metric("podlocal_dns_forward_zone_unavailable{zone=\"consul\"}").await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_down).await.expect("two seconds of silence");
        assert_eq!(proxy.metric("podlocal_dns_upstream_unavailable").await, 0);
        assert_eq!(rcode(&proxy, "db.own.svc.cluster.local.").await, ResponseCode::NoError);
        assert_eq!(rcode(&proxy, "www.example.").await, ResponseCode::NoError);
    };
    let (failed, ()) = tokio::join!(failed, others);
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(cluster.asked(), ["db.own.svc.cluster.local.", "www.example."], "nothing of the zone");
}

#[tokio::test]
async fn a_failing_zone_is_servfail_and_no_other_server_is_queried() {
    for code in [ResponseCode::Refused, ResponseCode::ServFail] {
        let (cluster, consul) = (Recorded::answering().await, Recorded::saying(code).await);
        let proxy = proxy(&cluster, &[consul.as_zone("consul")]).await;
        assert_eq!(rcode(&proxy, "web.service.consul.").await, ResponseCode::ServFail, "{code}");
        assert_eq!(cluster.asked(), [""; 0]);
    }
}

#[tokio::test]
async fn a_dead_cluster_dns_does_not_affect_a_zone() {
    let (cluster, consul) = (Recorded::silent().await, Recorded::answering().await);
    let proxy = proxy(&cluster, &[consul.as_zone("consul")]).await;
    let question = query("db.own.svc.cluster.local.", RecordType::A, 1, None);
    let of_zone = async {
        for number in 0..10 {
            let name = format!("web-{number}.service.consul.");
            assert_eq!(rcode(&proxy, &name).await, ResponseCode::NoError, "{name}");
        }
    };
    let (failed, ()) = tokio::join!(ask(proxy.dns, &question), of_zone);
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(cluster.asked(), ["db.own.svc.cluster.local."]);
    assert_eq!(proxy.metric("podlocal_dns_forward_zone_unavailable{zone=\"consul\"}").await, 0);
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
        while limit_reached(proxy, "in_flight").await < count as u64 - places {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_full).await.expect("the rest is refused at once");
    socket
}

#[tokio::test]
async fn queries_in_flight_take_no_places_of_another_zone() {
    let (cluster, consul) = (Recorded::silent().await, Recorded::answering().await);
    let zones = consul.as_zone("consul");
    let flags = ["--max-in-flight", "20", "--forward-zones", &zones];
    let proxy = Proxy::start(&[cluster.server.address], &flags).await;
    let _waiting = fill(&proxy, "example.", 30, 20).await;
    assert_eq!(rcode(&proxy, "web.service.consul.").await, ResponseCode::NoError);

    let (cluster, consul) = (Recorded::answering().await, Recorded::silent().await);
    let zones = consul.as_zone("consul");
    let flags = ["--max-in-flight", "20", "--forward-zones", &zones];
    let proxy = Proxy::start(&[cluster.server.address], &flags).await;
    let _waiting = fill(&proxy, "consul.", 40, 32).await;
    assert_eq!(rcode(&proxy, "www.example.").await, ResponseCode::NoError);
}

#[tokio::test]
async fn after_nxdomain_of_a_zone_the_search_list_is_tried() {
    const IN_CLUSTER: &str = "server-0.server.consul.svc.cluster.local.";
    let cluster = Recorded::start(|query, name| {
        let (rcode, records) = match name {
            IN_CLUSTER => (ResponseCode::NoError, vec![a(IN_CLUSTER, 60)]),
            "consul.svc.cluster.local." => (ResponseCode::NoError, vec![]),
            _ => (ResponseCode::NXDomain, vec![]),
        };
        Script::Send(vec![reply(query, rcode, records)])
    })
    .await;
    let consul = Recorded::saying(ResponseCode::NXDomain).await;
    let proxy = proxy(&cluster, &[consul.as_zone("consul")]).await;
    let answer = ask(proxy.dns, &query("server-0.server.consul.", RecordType::A, 1, None)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert_eq!(answer.answers.len(), 2, "an alias and its address");
    assert_eq!(consul.asked(), ["server-0.server.consul."]);
    assert!(cluster.asked().iter().all(|name| name.ends_with(".cluster.local.")));
    assert_eq!(rcode(&proxy, "gone.service.consul.").await, ResponseCode::NXDomain);
    assert_eq!(consul.asked(), ["gone.service.consul."]);
}

#[tokio::test]
async fn the_second_server_of_a_zone_answers_while_the_first_cannot() {
    let [cluster, first, second] = [
        Recorded::answering().await,
        Recorded::saying(ResponseCode::Refused).await,
        Recorded::answering().await,
    ];
    let zone = format!("{}+{}", first.as_zone("consul"), second.server.address);
    let proxy = proxy(&cluster, &[zone]).await;
    assert_eq!(rcode(&proxy, "web.service.consul.").await, ResponseCode::NoError);
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    assert_eq!(cluster.asked(), [""; 0]);
}

/// The tier belongs to the cluster: it does not know the zone, and its probes use no name of the zone.
#[tokio::test]
async fn tier_and_backup_are_not_queried_for_names_of_a_zone() {
    let [tier, cluster, backup] =
        [Recorded::answering().await, Recorded::answering().await, Recorded::answering().await];
    let consul = Recorded::saying(ResponseCode::ServFail).await;
    let flags = [
        "--shared-tier".to_owned(),
        tier.server.address.to_string(),
        "--backup-upstream".to_owned(),
        backup.server.address.to_string(),
        "--forward-zones".to_owned(),
        consul.as_zone("consul"),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let proxy = Proxy::start(&[cluster.server.address], &flags).await;
    assert_eq!(rcode(&proxy, "web.service.consul.").await, ResponseCode::ServFail);
    assert_eq!(rcode(&proxy, "www.example.").await, ResponseCode::NoError);
    assert_eq!(tier.asked(), ["www.example."]);
    assert_eq!((cluster.asked().len(), backup.asked().len()), (0, 0));
}

/// The tier is the same program.
#[tokio::test]
async fn a_shared_tier_serves_its_forward_zone_to_all_pods() {
    let (cluster, consul) = (Recorded::answering().await, Recorded::answering().await);
    let zones = consul.as_zone("consul");
    let flags = ["--role", "shared", "--workers", "1", "--forward-zones", &zones];
    let proxy = Proxy::start(&[cluster.server.address], &flags).await;
    assert_eq!(rcode(&proxy, "web.service.consul.").await, ResponseCode::NoError);
    assert_eq!((consul.asked().len(), cluster.asked().len()), (1, 0));
}

#[tokio::test]
async fn lookup_and_stats_name_the_zone_that_answered() {
    let (cluster, consul) = (Recorded::answering().await, Recorded::answering().await);
    let proxy = proxy(&cluster, &[consul.as_zone("consul")]).await;
    let question = proxy.document(&target::lookup("web.service.consul.", "A")).await;
    let by = &question["answered_by"]["upstream"];
    let address = consul.server.address.to_string();
    assert_eq!(
        (by["zone"].as_str(), by["server"].as_str()),
        (Some("consul."), Some(address.as_str())),
        "{by}"
    );
    assert!(
        question["steps"].to_string().contains(&format!("queries forward zone consul. {address}")),
        "{question}"
    );
    assert_eq!(by["transport"], "udp");
    let stats = proxy.document(&target::stats(false)).await;
    let zone = &stats["forward_zones"][0];
    assert_eq!((&zone["zone"], &zone["upstream"]["attempts"]["answer"]), (&"consul.".into(), &1.into()));
    assert_eq!(zone["upstream"]["is_unavailable"].as_bool(), Some(false), "{stats}");
    assert_eq!(stats["upstream"]["attempts"]["answer"].as_u64(), Some(0), "{stats}");
}

#[tokio::test]
async fn every_bad_zone_is_named_before_the_proxy_starts() {
    let zones = "consul=x,cluster.local=10.0.0.1,consul=10.0.0.1,consul=10.0.0.2";
    let output = program().args(["--upstream", "10.0.0.1", "--forward-zones", zones]).output().await;
    let output = output.expect("runs");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).expect("text");
    for part in ["\"consul=x\"", "\"cluster.local=10.0.0.1\"", "\"consul=10.0.0.2\""] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("\"consul=10.0.0.1\""), "{said}");
}
