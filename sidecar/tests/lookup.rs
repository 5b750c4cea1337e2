//! `lookup` and `stats`, run against a proxy in front of a scripted upstream: the report of each way to an
//! answer.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use podlocal_dns::report::http::OWN_HEADER;
use support::{PATIENCE, Proxy, Script, Upstream, ask, program, query, reply};

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

async fn run(proxy: &Proxy, arguments: &[&str]) -> Output {
    let port = proxy.admin.port().to_string();
    program().args(arguments).args(["--admin-port", &port]).output().await.expect("runs")
}

/// The document of a lookup, and the exit code.
async fn look_up(proxy: &Proxy, arguments: &[&str]) -> (Value, i32) {
    let output = run(proxy, &[&["lookup", "--json"], arguments].concat()).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {said}"));
    (document, output.status.code().expect("an exit code"))
}

/// The source of the first answer in a lookup of an absolute name.
async fn answered_by(proxy: &Proxy, name: &str) -> Value {
    let (document, _) = look_up(proxy, &[name, "A"]).await;
    document["candidates"][0]["queries"][0]["answered_by"].clone()
}

fn resolv_conf(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.conf", std::process::id()));
    std::fs::write(&path, text).expect("writes");
    path
}

#[tokio::test]
async fn the_search_expansion_follows_resolv_conf() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--namespace", "own"]).await;
    let file = resolv_conf(
        "ladder",
        "nameserver 127.0.0.1\nsearch own.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
    );
    let path = file.to_str().expect("text");
    let (document, code) = look_up(&proxy, &["api.there.example", "--resolv-conf", path]).await;
    let names: Vec<_> =
        document["candidates"].as_array().expect("a list").iter().map(|one| one["name"].as_str()).collect();
    let expected = ["own.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", ""];
    let expected: Vec<_> = expected.iter().map(|domain| format!("api.there.example.{domain}")).collect();
    assert_eq!(names, expected.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
    let by = |candidate: usize| &document["candidates"][candidate]["queries"][0]["answered_by"];
    assert_eq!((by(0)["rule"]["rule"].as_str(), by(2)["rule"]["rule"].as_str()), (Some("R3"), Some("R1")));
    assert!(by(3)["upstream"]["server"].is_string(), "{document}");
    assert_eq!((document["result"].as_str(), code), (Some("no_name"), 2));

    let (document, code) = look_up(&proxy, &["db", "--resolv-conf", path]).await;
    assert_eq!((document["result"].as_str(), code), (Some("found"), 0));
    assert_eq!(document["candidates"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["candidates"][0]["queries"][0]["answers"][0]["data"], "10.0.0.1");
    assert_eq!(document["candidates"][0]["queries"][1]["rcode"], "NOERROR");
    assert_eq!(document["not_tried"].as_array().map(Vec::len), Some(3));
    std::fs::remove_file(file).expect("removes");
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
    let (document, _) = look_up(&proxy, &["nowhere.example.", "TXT"]).await;
    assert_eq!(document["candidates"][0]["queries"][0]["answered_by"]["cache"]["cached_for"], "every_type");
    let (document, _) = look_up(&proxy, &["db.own.svc.", "A", "--trace"]).await;
    let question = &document["candidates"][0]["queries"][0];
    assert_eq!(question["answered_by"]["search_list"]["name"], "db.own.svc.cluster.local.", "{question}");
    let steps = question["steps"].to_string();
    assert!(steps.contains("search list: db.own.svc.own.svc.cluster.local.: rule R3"), "{steps}");
    let by = answered_by(&proxy, "db.own.svc.").await;
    assert_eq!(by["cache"]["cached_for"], "search_list");
    let told = async || {
        let (document, _) = look_up(&proxy, &["db.own.svc.", "TXT"]).await;
        document["candidates"][0]["queries"][0]["answered_by"].clone()
    };
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
    let output = run(&proxy, &["lookup", "there.example.", "A", "--trace"]).await;
    let page = String::from_utf8(output.stdout).expect("text");
    let server = upstream.address;
    for part in [
        format!("A     NOERROR   upstream {server} over TCP, 2 attempts, "),
        "         10.0.0.1, TTL 60\n".to_owned(),
        "cache: nothing\n".to_owned(),
        "no rule applies: the name is queried as it stands\n".to_owned(),
        format!("queries {server} over UDP for there.example. A\n"),
        format!("{server} over UDP: truncated after "),
        format!("queries {server} over TCP for there.example. A\n"),
        "exchange for there.example. A ended: 2 attempts, ".to_owned(),
        "outcome: miss\n".to_owned(),
        "there.example.: found as there.example. after 1 candidate, 1 query, ".to_owned(),
    ] {
        assert!(page.contains(&part), "{part:?} is missing in\n{page}");
    }
    assert!(!page.contains('\x1b'), "no colours where no terminal is");
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

    let (document, code) = look_up(&proxy, &["other.example.", "A"]).await;
    let reason = document["candidates"][0]["queries"][0]["answered_by"]["none"]["reason"].to_string();
    assert!(reason.contains("no server answered in time") && reason.contains("attempts"), "{reason}");
    assert_eq!((document["result"].as_str(), code), (Some("try_again"), 2));
    let reason = answered_by(&proxy, "other.example.").await["none"]["reason"].to_string();
    assert!(reason.contains("failed less than 2 s ago"), "{reason}");

    let page = run(&proxy, &["stats"]).await;
    let page = String::from_utf8(page.stdout).expect("text");
    assert!(page.contains("upstream   unavailable; ") && page.contains(" ejected after "), "{page}");
    assert!(page.contains("ago (timeout)"), "{page}");
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
async fn a_resolv_conf_without_the_proxy_is_reported() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--namespace", "own"]).await;
    let (document, code) = look_up(&proxy, &["db"]).await;
    // A proxy on a free port is in no resolv.conf.
    assert!(document["notes"][0].as_str().expect("a note").contains("/etc/resolv.conf"), "{document}");
    assert_eq!((document["candidates"][0]["name"].as_str(), code), (Some("db.own.svc.cluster.local."), 0));
    assert_eq!(document["source"], "the settings of the proxy");
}

#[tokio::test]
async fn stats_is_one_page_and_counts_names_from_its_first_call() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let ask = async || ask(proxy.dns, &query("There.example.", RecordType::A, 1, None)).await;
    ask().await;
    let page = String::from_utf8(run(&proxy, &["stats", "--names"]).await.stdout).expect("text");
    for part in [
        "podlocal   sidecar ",
        "queries    1\n",
        "  miss ",
        "100.0 %  ####",
        "memory ",
        "upstream   available; 1 attempt:",
    ] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    assert!(page.contains("none yet"), "names were not counted before:\n{page}");
    ask().await;
    ask().await;
    let output = run(&proxy, &["stats", "--names", "--json"]).await;
    let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(figures["names"]["top"][0]["name"], "there.example.");
    assert_eq!(
        (figures["names"]["top"][0]["count"].as_u64(), figures["outcomes"]["hit"].as_u64()),
        (Some(2), Some(2))
    );
    assert!(figures["upstream"]["servers"][0]["srtt_us"].is_u64(), "{figures}");
    assert_eq!(run(&proxy, &["stats"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn with_query_log_names_are_counted_from_the_start() {
    let upstream = Upstream::start(world(60)).await;
    let proxy = Proxy::start(&[upstream.address], &["--query-log", "true"]).await;
    ask(proxy.dns, &query("there.example.", RecordType::A, 1, None)).await;
    let page = String::from_utf8(run(&proxy, &["stats", "--names"]).await.stdout).expect("text");
    assert!(page.contains("1  there.example.\n"), "{page}");
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

#[tokio::test]
async fn without_the_proxy_the_error_says_the_next_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port().to_string();
    let stranger = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope").await;
        }
    });
    let run = async |arguments: &[&str]| {
        let output = program().args(arguments).args(["--admin-port", &port]).output().await.expect("runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    for arguments in [&["lookup", "db"][..], &["stats"]] {
        let said = run(arguments).await;
        assert!(said.contains("another version of the proxy") && said.contains("nope"), "{said}");
        assert!(said.contains("kubectl exec POD -c podlocal-dns -- /podlocal-sidecar"), "{said}");
    }
    stranger.abort();
    let _ = stranger.await;
    for arguments in [&["lookup", "db"][..], &["stats", "--watch"]] {
        let said = run(arguments).await;
        assert!(
            said.contains("cannot reach a proxy on the admin port") && said.contains("--admin-port PORT"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn all_bad_arguments_are_named_with_exit_code_64() {
    let bad = program().args(["lookup", "a..b", "AA", "--cache-size", "4MB"]).output().await.expect("runs");
    let said = String::from_utf8(bad.stderr).expect("text");
    assert_eq!(bad.status.code(), Some(64), "{said}");
    assert!(["NAME", "TYPE", "--cache-size"].iter().all(|part| said.contains(part)), "{said}");
    let file =
        program().args(["lookup", "db", "--resolv-conf", "no/such/file"]).output().await.expect("runs");
    let said = String::from_utf8(file.stderr).expect("text");
    assert!(file.status.code() == Some(64) && said.contains("no/such/file"), "{said}");
    let help = program().args(["lookup", "--help"]).output().await.expect("runs");
    let page = String::from_utf8(help.stdout).expect("text");
    assert!(
        page.contains("Usage: podlocal-sidecar lookup NAME [TYPE]") && page.contains("--trace"),
        "{page}"
    );
}
