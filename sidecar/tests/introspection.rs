//! The documents of the admin port, `/lookup` and `/stats`, from a proxy in front of a scripted upstream: the
//! report of each way to an answer.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use podlocal_dns::report::http::OWN_HEADER;
use podlocal_dns::report::target;
use support::{
    PATIENCE, Proxy, RecordType, ResponseCode, Script, Upstream, a, name, queried_name, reply, start,
    without_records,
};

/// The answer of an upstream with an address for `there.example`, with that TTL, and for `db` in its
/// namespace; no other name exists.
fn answer(query: &Message, ttl: u32) -> Message {
    let name_of_query = queried_name(query);
    let exists =
        ["there.example.", "db.own.svc.cluster.local."].contains(&name_of_query.to_lowercase().as_str());
    let rcode = match (exists, query.queries[0].query_type()) {
        (true, RecordType::A) => {
            return reply(query, ResponseCode::NoError, vec![a(&name_of_query, ttl)]);
        }
        (true, _) => ResponseCode::NoError,
        (false, _) => ResponseCode::NXDomain,
    };
    let soa = RData::SOA(SOA::new(name("."), name("."), 1, 1, 1, 1, 20));
    let mut message = without_records(query, rcode);
    message.insert_authorities(vec![Record::from_rdata(name("."), 20, soa)]);
    message
}

async fn start_world(flags: &[&str]) -> (Upstream, Proxy) {
    start(|query, _| answer(query, 60), flags).await
}

/// The report of a lookup of an absolute name.
async fn look_up(proxy: &Proxy, name: &str, rtype: &str) -> Value {
    proxy.document(&target::lookup(name, rtype)).await
}

/// The source of the answer to a lookup of an absolute name, type A.
async fn answered_by(proxy: &Proxy, name: &str) -> Value {
    look_up(proxy, name, "A").await["answered_by"].clone()
}

/// Every field of `expected` has that value in the document.
fn has(document: &Value, expected: &Value) {
    for (field, value) in expected.as_object().expect("fields") {
        assert_eq!(document[field], *value, "{field} of {document}");
    }
}

#[tokio::test]
async fn a_lookup_is_a_query_and_shows_the_age_of_a_cached_answer() {
    let (upstream, proxy) = start_world(&[]).await;
    let by = &answered_by(&proxy, "there.example.").await["upstream"];
    let server = upstream.address.to_string();
    has(by, &json!({ "server": server, "transport": "udp", "attempts": 1, "is_shared_tier": false }));
    let cache = &answered_by(&proxy, "there.example.").await["cache"];
    let sum = cache["age_s"].as_u64().expect("a number") + cache["remaining_s"].as_u64().expect("a number");
    assert!(sum == 60 && cache["cached_for"] == "question", "{cache}");
    proxy.finds("there.example.").await;
    assert_eq!((upstream.asked(), proxy.outcomes("hit").await), (1, 2));
    assert_eq!(proxy.metric("podlocal_dns_queries_total{transport=\"tcp\"}").await, 2);
}

#[tokio::test]
async fn shared_nxdomain_and_search_completion_are_shown() {
    let (_upstream, proxy) = start_world(&["--namespace", "own"]).await;
    assert!(answered_by(&proxy, "nowhere.example.").await["upstream"].is_object());
    let report = look_up(&proxy, "nowhere.example.", "TXT").await;
    assert_eq!(report["answered_by"]["cache"]["cached_for"], "every_type");
    let report = look_up(&proxy, "db.own.svc.", "A").await;
    assert_eq!(report["answered_by"]["search_list"]["name"], "db.own.svc.cluster.local.", "{report}");
    let steps = report["steps"].to_string();
    assert!(steps.contains("search list: db.own.svc.own.svc.cluster.local.: rule R3"), "{steps}");
    assert_eq!(answered_by(&proxy, "db.own.svc.").await["cache"]["cached_for"], "search_list");
    let of_text = async || look_up(&proxy, "db.own.svc.", "TXT").await["answered_by"].clone();
    assert!(of_text().await["search_list"].is_object(), "it exists without such a record");
    assert_eq!(of_text().await["cache"]["cached_for"], "search_list");
}

#[tokio::test]
async fn the_attempts_of_an_answer_over_tcp_are_shown() {
    let script = |query: &Message, by_tcp: bool| {
        let mut whole = answer(query, 60);
        whole.metadata.truncation = !by_tcp;
        whole
    };
    let (upstream, proxy) = start(script, &[]).await;
    let report = look_up(&proxy, "there.example.", "A").await;
    let server = upstream.address.to_string();
    has(&report["answered_by"]["upstream"], &json!({ "server": server, "transport": "tcp", "attempts": 2 }));
    assert_eq!(report["outcome"], "miss");
    has(&report["answers"][0], &json!({ "data": "10.0.0.1", "ttl_s": 60 }));
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
    let later = Duration::from_millis(2500);
    let (upstream, proxy) = start(move |query, _| Script::Later(later, answer(query, 60)), &[]).await;
    let second = async {
        while upstream.asked() == 0 {
            tokio::task::yield_now().await;
        }
        answered_by(&proxy, "there.example.").await["upstream"].clone()
    };
    let ((), by) = tokio::join!(proxy.finds("there.example."), second);
    assert_eq!(by["is_coalesced"], true, "{by}");
    assert!(by["duration_us"].as_u64() >= Some(2_500_000), "the whole exchange: {by}");
    assert_eq!(proxy.outcomes("coalesced").await, 1);
}

#[tokio::test]
async fn expired_answers_and_cached_failures_are_explained() {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = Arc::clone(&is_silent);
    let script = move |query: &Message, _| {
        if silent.load(Ordering::SeqCst) { Script::Silence } else { answer(query, 1).into() }
    };
    let (_upstream, proxy) = start(script, &["--refresh-ahead", "false"]).await;
    answered_by(&proxy, "there.example.").await;
    is_silent.store(true, Ordering::SeqCst);
    let until = async |reason: &str| loop {
        let by = answered_by(&proxy, "there.example.").await["expired"].clone();
        if by["reason"] == reason {
            break by;
        }
    };
    let slow = timeout(PATIENCE, until("the upstream did not answer within 400 ms")).await;
    assert!(slow.expect("its life ends")["age_s"].as_u64() >= Some(1));
    let down = timeout(PATIENCE, until("no upstream is known to answer")).await;
    down.expect("it is known to be silent after 2 s");

    let report = look_up(&proxy, "other.example.", "A").await;
    let reason = report["answered_by"]["none"]["reason"].to_string();
    assert!(reason.contains("no server answered in time") && reason.contains("attempts"), "{reason}");
    assert_eq!(report["rcode"], "SERVFAIL");
    let reason = answered_by(&proxy, "other.example.").await["none"]["reason"].to_string();
    assert!(reason.contains("failed less than 2 s ago"), "{reason}");

    let stats = proxy.document(&target::stats(false)).await;
    assert_eq!(stats["upstream"]["is_unavailable"], true, "{stats}");
    let server = &stats["upstream"]["servers"][0];
    has(server, &json!({ "is_ejected": true, "last_failure": "timeout" }));
    assert!(server["failures"].as_u64() > Some(1), "{stats}");
    assert_eq!(proxy.metric("podlocal_dns_upstream_ejected_servers").await, 1);
}

#[tokio::test]
async fn the_shared_tier_and_the_fallback_are_shown() {
    let tier = Upstream::start(|query, _| match queried_name(query).to_lowercase().as_str() {
        "there.example." => answer(query, 60),
        _ => without_records(query, ResponseCode::ServFail),
    })
    .await;
    let (upstream, proxy) = start_world(&["--shared-tier", &tier.address.to_string()]).await;
    for (name, is_shared_tier, server, attempts) in
        [("there.example.", true, &tier, 1), ("nowhere.example.", false, &upstream, 2)]
    {
        let server = server.address.to_string();
        let expected = json!({ "is_shared_tier": is_shared_tier, "server": server, "attempts": attempts });
        has(&answered_by(&proxy, name).await["upstream"], &expected);
    }
}

#[tokio::test]
async fn stats_count_names_from_the_first_request() {
    let (_upstream, proxy) = start_world(&[]).await;
    proxy.finds("There.example.").await;
    let stats = proxy.document(&target::stats(true)).await;
    has(&stats, &json!({ "version": env!("CARGO_PKG_VERSION"), "role": "pod" }));
    assert_eq!((&stats["queries"]["udp"], &stats["outcomes"]["miss"]), (&json!(1), &json!(1)));
    assert_eq!(stats["upstream"]["is_unavailable"], false);
    assert_eq!(stats["upstream"]["attempts"]["answer"], 1);
    assert!(stats["memory"]["resident_bytes"].as_u64() > Some(0), "{stats}");
    assert_eq!(stats["names"]["top"], json!([]), "names were not counted before");
    proxy.finds("There.example.").await;
    proxy.finds("There.example.").await;
    let stats = proxy.document(&target::stats(true)).await;
    has(&stats["names"]["top"][0], &json!({ "name": "there.example.", "count": 2 }));
    assert_eq!(stats["outcomes"]["hit"], 2);
    assert!(stats["upstream"]["servers"][0]["srtt_us"].is_u64(), "{stats}");
    assert!(proxy.document(&target::stats(false)).await["names"].is_null());
}

#[tokio::test]
async fn foreign_requests_get_nothing_and_bad_ones_an_explanation() {
    let (upstream, mut proxy) = start_world(&[]).await;
    let admin = proxy.admin;
    let own = format!("{OWN_HEADER}: 1\r\n");
    // As through the proxy of a mesh: one end is not the loopback's own address. As a tricked application of
    // the pod, which fetches a given address.
    for (address, headers, part) in [
        (SocketAddr::from(([127, 0, 0, 2], admin.port())), own.as_str(), "only requests from the pod itself"),
        (admin, "origin: http://elsewhere.example\r\n", OWN_HEADER),
    ] {
        proxy.admin = address;
        for target in ["/lookup?name=there.example.&type=A", "/stats"] {
            let said = proxy.http_with(target, headers).await;
            assert!(said.starts_with("HTTP/1.1 403") && said.contains(part), "{said}");
        }
    }
    assert_eq!(upstream.asked(), 0);
    let said = proxy.http("/lookup?name=a..b&type=A").await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("name: invalid value \"a..b\""), "{said}");
    let long = format!("/lookup?name={}&type=A", "a".repeat(1 << 20));
    let mut stream = TcpStream::connect(admin).await.expect("connects");
    let _ = stream.write_all(format!("GET {long} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP/1.1 200"), "what is too long is refused");
}

#[tokio::test]
async fn at_most_four_lookups_run_at_a_time() {
    let (_upstream, proxy) = start(|_, _| Script::Silence, &[]).await;
    let look_up = |name| look_up(&proxy, name, "A");
    let waiting = async { tokio::join!(look_up("a."), look_up("b."), look_up("c."), look_up("d.")) };
    let another = async {
        proxy.reaches("podlocal_dns_queries_waiting", 4).await;
        let said = proxy.http("/lookup?name=another.example.&type=A").await;
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("try again in a moment"), "{said}");
    };
    let (reports, ()) = tokio::join!(waiting, another);
    for report in <[Value; 4]>::from(reports) {
        assert_eq!(report["rcode"], "SERVFAIL");
    }
}
