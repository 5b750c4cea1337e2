//! The built program against a scripted admin port: which requests it makes, what it prints, and its exit code.
//! `tests/inspect.rs` runs it against the proxy.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use podlocal_dns::report::http::OWN_HEADER;
use podlocal_dns::report::target::{LOOKUP, STATS};
use podlocal_settings::table::ADMIN_PORT;
use serde_json::{Value, json};

/// Serves the admin port until the test process ends; returns the port. `answer` has a status and a body for
/// the target of a request.
fn admin_port(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepts");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            let request = String::from_utf8(request).expect("text");
            assert!(request.contains(&format!("\r\n{OWN_HEADER}: 1\r\n")), "{request}");
            let (status, body) = answer(request.split(' ').nth(1).expect("a target"));
            write!(stream, "HTTP/1.1 {status} Reason\r\n\r\n{body}").expect("sends");
        }
    });
    port
}

/// A proxy of a pod in the namespace `own`, where only `db` has an address.
fn proxy() -> u16 {
    admin_port(|target| match target.split_once('?') {
        Some((LOOKUP, query)) => (200, report(query).to_string()),
        None if target == STATS => (200, stats().to_string()),
        _ => (404, format!("unexpected target {target}")),
    })
}

fn report(query: &str) -> Value {
    let parts: Vec<_> = query.split(['=', '&']).collect();
    let ["name", name, "type", rtype] = *parts.as_slice() else { panic!("{query}") };
    let exists = name == "db.own.svc.cluster.local.";
    let answers = if exists && rtype == "A" {
        json!([{ "name": name, "ttl_s": 30, "type": "A", "data": "10.0.0.1" }])
    } else {
        json!([])
    };
    json!({
        "name": name,
        "type": rtype,
        "rcode": if exists { "NOERROR" } else { "NXDOMAIN" },
        "answers": answers,
        "more_answers": 0,
        "outcome": "hit",
        "answered_by": { "cache": { "age_s": 1, "remaining_s": 29, "cached_for": "question" } },
        "duration_us": 20,
        "exchanges": [],
        "steps": [{ "at_us": 10, "text": "cache: an answer" }],
    })
}

/// The statistics of that proxy.
fn stats() -> Value {
    let documents: Value = serde_json::from_str(include_str!("pages/stats.json")).expect("JSON");
    let mut stats = documents[0].clone();
    stats["version"] = json!(env!("CARGO_PKG_VERSION"));
    stats["listen"] = json!(["127.0.0.1:5380"]);
    stats["search"] = json!(["own.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
    stats
}

fn run(port: u16, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podlocal-inspect"));
    command.env_clear().stdin(Stdio::null()).args(arguments).args([ADMIN_PORT.flag(), port.to_string()]);
    command.output().expect("runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The document of a lookup, and the exit code.
fn look_up(arguments: &[&str]) -> (Value, i32) {
    let output = run(proxy(), &[&["lookup", "--json"], arguments].concat());
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (document, output.status.code().expect("an exit code"))
}

#[test]
fn the_search_expansion_follows_resolv_conf() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ndots5-{}.conf", std::process::id()));
    let conf = "nameserver 10.96.0.10\nsearch own.svc.cluster.local cluster.local\noptions ndots:5\n";
    std::fs::write(&path, conf).expect("writes");
    let file = path.to_str().expect("text");
    let (document, code) = look_up(&["api.example.com", "--resolv-conf", file]);
    let candidates = document["candidates"].as_array().expect("a list");
    let names: Vec<_> = candidates.iter().filter_map(|candidate| candidate["name"].as_str()).collect();
    let expected =
        ["api.example.com.own.svc.cluster.local.", "api.example.com.cluster.local.", "api.example.com."];
    assert_eq!(names, expected);
    assert_eq!((document["result"].as_str(), code), (Some("no_name"), 2));
    assert_eq!((document["source"].as_str(), document["ndots"].as_u64()), (Some(file), Some(5)));

    let (document, code) = look_up(&["db", "--resolv-conf", file]);
    assert_eq!((document["result"].as_str(), code), (Some("found"), 0));
    assert_eq!(document["candidates"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["candidates"][0]["queries"][0]["answers"][0]["data"], "10.0.0.1");
    assert_eq!(document["candidates"][0]["queries"][1]["type"], "AAAA");
    assert_eq!(document["not_tried"], json!(["db.cluster.local.", "db."]));
    std::fs::remove_file(path).expect("removes");
}

#[test]
fn one_type_is_one_query_and_pages_have_no_colours_without_a_terminal() {
    let output = run(proxy(), &["lookup", "db.own.svc.cluster.local.", "srv", "--trace"]);
    let page = text(&output.stdout);
    for part in [
        "   SRV   NODATA    cache, 1 s old, expires in 29 s\n",
        "+0.0 ms  cache: an answer\n",
        "exists, but has no record of this type (EAI_NODATA) after 1 candidate, 1 query, 0.0 ms\n",
    ] {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
    assert!(!page.contains('\x1b') && output.status.code() == Some(2));
}

#[test]
fn stats_are_a_page_or_the_document_of_the_proxy() {
    let port = proxy();
    let page = run(port, &["stats"]);
    assert!(text(&page.stdout).contains("queries    2000\n"), "{}", text(&page.stdout));
    assert_eq!(page.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&run(port, &["stats", "--json"]).stdout).expect("JSON");
    assert_eq!(document, stats());
}

#[test]
fn the_admin_port_may_be_in_the_variable() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podlocal-inspect"));
    command.env_clear().env(ADMIN_PORT.variable(), proxy().to_string()).arg("stats");
    let output = command.output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn without_the_proxy_the_error_says_the_next_step() {
    let stranger = admin_port(|_| (404, "nope".to_owned()));
    let another_version = admin_port(|_| (200, "{}".to_owned()));
    let busy = admin_port(|_| (503, "4 lookups are running already; try again in a moment\n".to_owned()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let free = listener.local_addr().expect("an address").port();
    drop(listener);
    for (port, parts) in [
        (stranger, ["another version of the proxy", "nope"]),
        (another_version, ["another version of the proxy", "-c podlocal-dns -- /podlocal-inspect ..."]),
        (busy, ["podlocal-inspect: 4 lookups", "try again in a moment\n"]),
        (free, ["cannot reach a proxy on the admin port", "--admin-port PORT"]),
    ] {
        for arguments in [&["lookup", "db"][..], &["stats", "--watch"]] {
            let output = run(port, arguments);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} {said}");
        }
    }
}

#[test]
fn bad_arguments_end_with_exit_code_64() {
    for (arguments, parts) in [
        (&["lookup", "a..b", "AA"][..], &["NAME", "TYPE", "See podlocal-inspect --help"][..]),
        (&["lookup", "db", "--resolv-conf", "no/such/file"], &["no/such/file"]),
        (&["lookup", "db", "--trce"], &["--trce", "--trace"]),
        (&["lookup", "db", "A", "c"], &["'c'"]),
        (&["lookup", "db", "--watch"], &["--watch"]),
        (&["stats", "--trace"], &["--trace"]),
        (&["lookup"], &["<NAME>"]),
        (&["lookup", "db", "--resolv-conf"], &["--resolv-conf"]),
        (&["lokup", "db"], &["lokup", "lookup"]),
    ] {
        let output = run(1, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn help_and_version_succeed() {
    for (arguments, part) in [
        (&["--help"][..], "stats "),
        (&["lookup", "--help"], "Usage: podlocal-inspect lookup [OPTIONS] <NAME> [TYPE]"),
        (&["lookup", "-h"], "--trace"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podlocal-inspect"));
        let output = command.args(arguments).output().expect("runs");
        assert!(output.status.success() && text(&output.stdout).contains(part), "{}", text(&output.stdout));
    }
}
