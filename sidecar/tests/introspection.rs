//! The documents of the admin port, `/lookup` and `/stats`, from a proxy in front of a scripted upstream: the
//! report of each way to an answer.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use podlocal_dns::report::http::OWN_HEADER;
use podlocal_dns::report::target;
use support::{PATIENCE, Proxy, Script, Upstream, ask, query, reply};

/// An upstream with an address for `there.example`, with that TTL, and for `db` in its namespace; no other
/// name exists.
fn world(ttl: u32) -> impl Fn(&Message, bool) -> Script + Send + Sync {
    move |query, _| Script::Send(vec![answer(query, ttl)])
}

fn answer(query: &Message, ttl: u32) -> Message {
    let question = &query.queries[0];
    let name = question.name().to_string().to_lowercase();
    let exists = ["there.example.", "db.own.svc.cluster.local."].contains(&name.as_str());
    match (exists, question.query_type()) {
        (true, RecordType::A) => {
            let address = RData::A(A(Ipv4Addr::new(10, 0, 0, 1)));
            reply(
                query,
                ResponseCode::NoError,
                vec![Record::from_rdata(question.name().clone(), ttl, address)],
            )
        }
        (true, _) => negative(query, ResponseCode::NoError),
        (false, _) => negative(query, ResponseCode::NXDomain),
    }
}

fn negative(query: &Message, rcode: ResponseCode) -> Message {
    let root = Name::root;
    let soa = RData::SOA(SOA::new(root(), root(), 1, 1, 1, 1, 20));
    let mut message = reply(query, rcode, vec![]);
    message.insert_authorities(vec![Record::from_rdata(root(), 20, soa)]);
    message
}

/// The report of a lookup of an absolute name.
async fn look_up(proxy: &Proxy, name: &str, rtype: &str) -> Value {
    proxy.document(&target::lookup(name, rtype)).await
}

/// The source of the answer to a lookup of an absolute name, type A.
async fn answered_by(proxy: &Proxy, name: &str) -> Value {
    look_up(proxy, name, "A").await["answered_by"].clone()
}

#[tokio::test]
async fn rules_and_records_are_shown() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--namespace", "own"]).await;
    for (name, rule) in
        [("api.there.example.own.svc.cluster.local.", "R3"), ("api.there.example.cluster.local.", "R1")]
    {
        assert_eq!(answered_by(&proxy, name).await["rule"]["rule"], rule, "{name}");
    }
    let report = look_up(&proxy, "db.own.svc.cluster.local.", "A").await;
    assert_eq!((&report["rcode"], &report["answers"][0]["data"]), (&"NOERROR".into(), &"10.0.0.1".into()));
    let report = look_up(&proxy, "db.own.svc.cluster.local.", "AAAA").await;
    assert_eq!((&report["rcode"], report["answers"].as_array().map(Vec::len)), (&"NOERROR".into(), Some(0)));
}

#[tokio::test]
async fn a_lookup_is_a_query_and_shows_the_age_of_a_cached_answer() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let by = answered_by(&proxy, "there.example.").await;
    assert_eq!(by["upstream"]["server"].as_str(), Some(upstream.address.to_string().as_str()));
    assert_eq!(
        (by["upstream"]["transport"].as_str(), by["upstream"]["attempts"].as_u64()),
        (Some("udp"), Some(1))
    );
    assert_eq!(by["upstream"]["is_shared_tier"].as_bool(), Some(false));
    let by = answered_by(&proxy, "there.example.").await;
    let cache = &by["cache"];
    let sum = cache["age_s"].as_u64().expect("a number") + cache["remaining_s"].as_u64().expect("a number");
    assert!(sum == 60 && cache["cached_for"] == "question", "{by}");
    ask(proxy.dns, &query("there.example.", RecordType::A, 1, None)).await;
    assert_eq!(upstream.asked(), 1);
    for (series, count) in
        [("queries_total{transport=\"tcp\"}", 2), ("query_outcomes_total{outcome=\"hit\"}", 2)]
    {
        assert_eq!(proxy.metric(&format!("podlocal_dns_{series}")).await, count, "{series}");
    }
}

#[tokio::test]
async fn shared_nxdomain_and_search_completion_are_shown() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--namespace", "own"]).await;
    assert!(answered_by(&proxy, "nowhere.example.").await["upstream"].is_object());
    let report = look_up(&proxy, "nowhere.example.", "TXT").await;
    assert_eq!(report["answered_by"]["cache"]["cached_for"], "every_type");
    let question = look_up(&proxy, "db.own.svc.", "A").await;
    assert_eq!(question["answered_by"]["search_list"]["name"], "db.own.svc.cluster.local.", "{question}");
    let steps = question["steps"].to_string();
    assert!(steps.contains("search list: db.own.svc.own.svc.cluster.local.: rule R3"), "{steps}");
    let by = answered_by(&proxy, "db.own.svc.").await;
    assert_eq!(by["cache"]["cached_for"], "search_list");
    let told = async || look_up(&proxy, "db.own.svc.", "TXT").await["answered_by"].clone();
    assert!(told().await["search_list"].is_object(), "it exists without such a record");
    assert_eq!(told().await["cache"]["cached_for"], "search_list");
}

#[tokio::test]
async fn the_attempts_of_an_answer_over_tcp_are_shown() {
    let upstream = Upstream::start(|query, by_tcp| {
        let mut whole = answer(query, 60);
        whole.metadata.truncation = !by_tcp;
        Script::Send(vec![whole])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let report = look_up(&proxy, "there.example.", "A").await;
    let (server, exchange) = (upstream.address, &report["answered_by"]["upstream"]);
    assert_eq!((&exchange["server"], &exchange["transport"]), (&server.to_string().into(), &"tcp".into()));
    assert_eq!((exchange["attempts"].as_u64(), report["outcome"].as_str()), (Some(2), Some("miss")));
    assert_eq!(
        (&report["answers"][0]["data"], &report["answers"][0]["ttl_s"]),
        (&"10.0.0.1".into(), &60.into())
    );
    let steps = report["steps"].as_array().expect("a list");
    let texts: Vec<_> = steps.iter().filter_map(|step| step["text"].as_str()).collect();
    let expected = [
        "cache: nothing".to_owned(),
        "no rule applies: the name is queried as it stands".to_owned(),
        format!("queries {server} over UDP for there.example. A"),
        format!("{server} over UDP: truncated after "),
        format!("queries {server} over TCP for there.example. A"),
        "exchange for there.example. A ended: 2 attempts, ".to_owned(),
        "outcome: miss".to_owned(),
    ];
    for part in expected {
        assert!(texts.iter().any(|text| text.starts_with(&part)), "{part:?} is missing in {texts:?}");
    }
}

#[tokio::test]
async fn a_coalesced_lookup_is_shown_as_such() {
    let upstream =
        Upstream::start(|query, _| Script::Later(Duration::from_millis(2500), answer(query, 60))).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let first = tokio::spawn(async move { ask(dns, &query("there.example.", RecordType::A, 1, None)).await });
    while upstream.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let by = answered_by(&proxy, "there.example.").await;
    assert_eq!(by["upstream"]["is_coalesced"].as_bool(), Some(true), "{by}");
    assert!(
        by["upstream"]["duration_us"].as_u64().expect("a number") >= 2_500_000,
        "the whole exchange: {by}"
    );
    first.await.expect("asked");
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"coalesced\"}").await, 1);
}

#[tokio::test]
async fn expired_answers_and_cached_failures_are_explained() {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = Arc::clone(&is_silent);
    let upstream = Upstream::start(move |query, _| {
        if silent.load(Ordering::SeqCst) { Script::Silence } else { Script::Send(vec![answer(query, 1)]) }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &["--refresh-ahead", "false"]).await;
    answered_by(&proxy, "there.example.").await;
    is_silent.store(true, Ordering::SeqCst);
    let expired = async {
        loop {
            let by = answered_by(&proxy, "there.example.").await;
            if by["cache"].is_null() {
                return by;
            }
        }
    };
    let by = tokio::time::timeout(PATIENCE, expired).await.expect("its life ends");
    assert_eq!(by["expired"]["reason"], "the upstream did not answer within 400 ms", "{by}");
    assert!(by["expired"]["age_s"].as_u64() >= Some(1), "{by}");
    let is_down = async {
        while answered_by(&proxy, "there.example.").await["expired"]["reason"]
            != "no upstream is known to answer"
        {}
    };
    tokio::time::timeout(PATIENCE, is_down).await.expect("it is known to be silent after 2 s");

    let report = look_up(&proxy, "other.example.", "A").await;
    let reason = report["answered_by"]["none"]["reason"].to_string();
    assert!(reason.contains("no server answered in time") && reason.contains("attempts"), "{reason}");
    assert_eq!(report["rcode"], "SERVFAIL");
    let reason = answered_by(&proxy, "other.example.").await["none"]["reason"].to_string();
    assert!(reason.contains("failed less than 2 s ago"), "{reason}");

    let stats = proxy.document(&target::stats(false)).await;
    assert_eq!(stats["upstream"]["is_unavailable"].as_bool(), Some(true), "{stats}");
    let server = &stats["upstream"]["servers"][0];
    assert_eq!(server["is_ejected"].as_bool(), Some(true), "{stats}");
    assert!(server["failures"].as_u64() > Some(1) && server["last_failure"] == "timeout", "{stats}");
}

#[tokio::test]
async fn the_shared_tier_and_the_fallback_are_shown() {
    let tier =
        Upstream::start(|query, _| match query.queries[0].name().to_lowercase().to_string().as_str() {
            "there.example." => Script::Send(vec![answer(query, 60)]),
            _ => Script::Send(vec![reply(query, ResponseCode::ServFail, vec![])]),
        })
        .await;
    let upstream = Upstream::start(world(60)).await;
    let address = tier.address.to_string();
    let proxy = Proxy::start(&[upstream.address], &["--shared-tier", &address]).await;
    let by = answered_by(&proxy, "there.example.").await;
    assert_eq!(
        (by["upstream"]["is_shared_tier"].as_bool(), by["upstream"]["server"].as_str()),
        (Some(true), Some(address.as_str()))
    );
    let by = answered_by(&proxy, "nowhere.example.").await;
    let around = upstream.address.to_string();
    assert_eq!(
        (by["upstream"]["is_shared_tier"].as_bool(), by["upstream"]["server"].as_str()),
        (Some(false), Some(around.as_str()))
    );
    assert_eq!(by["upstream"]["attempts"].as_u64(), Some(2));
}

#[tokio::test]
async fn stats_count_names_from_the_first_request() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let ask = async || ask(proxy.dns, &query("There.example.", RecordType::A, 1, None)).await;
    ask().await;
    let figures = proxy.document(&target::stats(true)).await;
    assert_eq!((&figures["version"], &figures["role"]), (&env!("CARGO_PKG_VERSION").into(), &"pod".into()));
    assert_eq!((&figures["queries"]["udp"], &figures["outcomes"]["miss"]), (&1.into(), &1.into()));
    assert_eq!(figures["upstream"]["is_unavailable"].as_bool(), Some(false));
    assert_eq!(figures["upstream"]["attempts"]["answer"].as_u64(), Some(1));
    assert!(figures["memory"]["resident_bytes"].as_u64() > Some(0), "{figures}");
    let counted = figures["names"]["top"].as_array().map(Vec::len);
    assert_eq!(counted, Some(0), "names were not counted before: {figures}");
    ask().await;
    ask().await;
    let figures = proxy.document(&target::stats(true)).await;
    assert_eq!(figures["names"]["top"][0]["name"], "there.example.");
    assert_eq!(
        (figures["names"]["top"][0]["count"].as_u64(), figures["outcomes"]["hit"].as_u64()),
        (Some(2), Some(2))
    );
    assert!(figures["upstream"]["servers"][0]["srtt_us"].is_u64(), "{figures}");
    assert!(proxy.document(&target::stats(false)).await["names"].is_null());
}

#[tokio::test]
async fn with_query_log_names_are_counted_from_the_start() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--query-log", "true"]).await;
    ask(proxy.dns, &query("there.example.", RecordType::A, 1, None)).await;
    let figures = proxy.document(&target::stats(true)).await;
    let top = &figures["names"]["top"][0];
    assert_eq!((&top["name"], &top["count"]), (&"there.example.".into(), &1.into()), "{figures}");
}

#[tokio::test]
async fn foreign_requests_get_nothing_and_bad_ones_an_explanation() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    // As through the proxy of a mesh: one end is not the loopback's own address.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], proxy.admin.port()));
    for target in ["/lookup?name=there.example.&type=A", "/stats"] {
        let mut stream = TcpStream::connect(elsewhere).await.expect("connects");
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{OWN_HEADER}: 1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("reads");
        assert!(
            said.starts_with("HTTP/1.1 403") && said.contains("only requests from the pod itself"),
            "{said}"
        );
    }
    // As a tricked application of the pod, which fetches a given address.
    for target in ["/lookup?name=there.example.&type=A", "/stats"] {
        let said = proxy.http_with(target, "origin: http://elsewhere.example\r\n").await;
        assert!(said.starts_with("HTTP/1.1 403") && said.contains(OWN_HEADER), "{said}");
    }
    assert_eq!(upstream.asked(), 0);
    for (target, part) in [
        ("/lookup", "name: invalid value \"\": expected a domain name"),
        ("/lookup?name=a..b&type=A", "name: invalid value \"a..b\""),
        ("/lookup?name=a.b&type=AA", "type: invalid value \"AA\": expected a record type"),
    ] {
        let said = proxy.http(target).await;
        assert!(said.starts_with("HTTP/1.1 400") && said.contains(part), "{said}");
    }
    let long = format!("/lookup?name={}&type=A", "a".repeat(1 << 20));
    let mut stream = TcpStream::connect(proxy.admin).await.expect("connects");
    let _ = stream.write_all(format!("GET {long} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP/1.1 200"), "what is too long is refused");
}

#[tokio::test]
async fn at_most_four_lookups_run_at_a_time() {
    let upstream = Upstream::start(|_, _| Script::Silence).await;
    let proxy = Arc::new(Proxy::start(&[upstream.address], &[]).await);
    let waiting: Vec<_> = (0..4)
        .map(|number| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.http(&format!("/lookup?name=n{number}.example.&type=A")).await })
        })
        .collect();
    while proxy.metric("podlocal_dns_queries_waiting").await < 4 {
        tokio::task::yield_now().await;
    }
    let said = proxy.http("/lookup?name=another.example.&type=A").await;
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("try again in a moment"), "{said}");
    for waiting in waiting {
        let said = waiting.await.expect("asked");
        assert!(said.contains("\"rcode\":\"SERVFAIL\""), "{said}");
    }
}
