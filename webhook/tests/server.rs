//! The built program over real TLS: reviews, errors, shutdown.

mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use base64::Engine as _;
use common::{Webhook, answer, connect, eventually, head, is_answered, pod, program, review_of};
use nix::sys::signal::Signal;
use podlocal_webhook::certificates::identity::Identity;
use podlocal_webhook::server::LARGEST_REVIEW;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

#[test]
fn a_review_is_answered_over_tls_with_a_patch_that_injects() {
    let webhook = Webhook::start(&["--sidecar-image", "sidecar:test"]);
    let response = webhook.review(&review_of(&pod()));
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().expect("a text"));
    let patch: json_patch::Patch = serde_json::from_slice(&patch.expect("base64")).expect("operations");
    let mut injected = pod();
    json_patch::patch(&mut injected, &patch).expect("applies");
    assert_eq!(injected["spec"]["initContainers"][0]["image"], "sidecar:test");
    assert_eq!(injected["spec"]["dnsConfig"]["searches"][0], "web.svc.cluster.local");
}

#[test]
fn request_that_is_not_a_review_gets_an_http_error() {
    let webhook = Webhook::start(&[]);
    assert_eq!(webhook.post("/", "application/json", b"{}").status, 404);
    assert_eq!(webhook.post("/mutate", "text/plain", b"{}").status, 415);
    let get = common::request(webhook.connect(), &head("GET", "/mutate", "application/json", 0), b"");
    assert_eq!(get.status, 405);
    let head = head("POST", "/mutate", "application/json", 1 << 30);
    assert_eq!(common::request(webhook.connect(), &head, b"").status, 413);
    // The server continues to work.
    assert!(webhook.review(&review_of(&pod())).get("patch").is_some());
}

#[test]
fn a_pod_that_is_too_large_is_allowed_with_a_warning_and_counted() {
    let webhook = Webhook::start(&[]);
    let mut long = pod();
    long["metadata"]["annotations"] = json!({"example.com/x": "x".repeat(LARGEST_REVIEW)});
    let mut many = pod();
    many["spec"]["initContainers"] = json!([{"name": "a", "env": vec![json!({}); 100_000]}]);
    for (pod, reason) in [(long, "more than 3 MiB"), (many, "more than 1536 KiB of memory")] {
        let response = webhook.review(&review_of(&pod));
        assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
        assert!(response.get("patch").is_none());
        let warning = response["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains("the pod is too large") && warning.contains(reason), "{warning}");
        webhook.log_line("reason=\"too_large\"");
    }
    let counted = "podlocal_webhook_reviews_total{decision=\"failed\",reason=\"too_large\"} 2\n";
    assert!(webhook.admin_page("/metrics").body.contains(counted));
}

#[test]
fn forged_review_cannot_inject_log_lines() {
    let webhook = Webhook::start(&[]);
    let mut forged = review_of(&pod());
    forged["request"]["namespace"] = json!("web\n2026 INFO all is well \u{1b}[31m");
    forged["request"]["object"]["metadata"] = json!({"name": "a decision=\"injected\""});
    webhook.review(&forged);
    let line = webhook.log_line("admission review");
    assert!(line.contains("namespace=\"\" name=\"\""), "{line}");
    let page = webhook.admin_page("/metrics").body;
    assert!(!page.contains("all is well"), "{page}");
}

#[test]
fn each_review_is_counted_and_logged_once_with_its_decision_and_reason() {
    let webhook = Webhook::start(&[]);
    let mut skipped = pod();
    skipped["spec"]["hostNetwork"] = json!(true);
    webhook.review(&review_of(&pod()));
    webhook.review(&review_of(&skipped));

    let line = webhook.log_line("admission review");
    for part in ["namespace=\"web\"", "name=\"app-\"", "decision=\"injected\"", "reason=\"new_pod\""] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(webhook.log_line("admission review").contains("reason=\"host_network\""));

    let page = webhook.admin_page("/metrics").body;
    for line in [
        "podlocal_webhook_reviews_total{decision=\"injected\",reason=\"new_pod\"} 1",
        "podlocal_webhook_reviews_total{decision=\"skipped\",reason=\"host_network\"} 1",
        "podlocal_webhook_reviews_total{decision=\"failed\",reason=\"invalid_json\"} 0",
        "podlocal_webhook_review_duration_seconds_count 2",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let expiry = page
        .lines()
        .find_map(|line| line.strip_prefix("podlocal_webhook_certificate_expiry_timestamp_seconds "));
    assert!(expiry.and_then(|text| text.parse::<f64>().ok()).is_some_and(|at| at > 1.7e9), "{page}");
    assert_eq!(webhook.admin_page("/livez").status, 200);
}

#[test]
fn in_flight_review_is_answered_after_sigterm() {
    let mut webhook = Webhook::start(&[]);
    let (connection, rest) = half_a_review(&webhook);
    webhook.signal(Signal::SIGTERM);
    webhook.log_line("draining");

    let mut connection = connection;
    connection.write_all(&rest).and_then(|()| connection.flush()).expect("writes");
    let answer = answer(connection);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"patch\""), "{}", answer.body);
    assert_eq!(webhook.ended().code(), Some(0));
    TcpListener::bind(webhook.address).expect("the address is free again");
}

#[test]
fn idle_connection_does_not_delay_shutdown() {
    let mut webhook = Webhook::start(&[]);
    let (_idle, _) = answered_connection(&webhook);
    let before = std::time::Instant::now();
    webhook.signal(Signal::SIGTERM);
    assert_eq!(webhook.ended().code(), Some(0));
    // The drain would wait 15 s for a busy connection.
    assert!(before.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn draining_webhook_is_unready_and_answers_but_closes_connections() {
    const CLOSES: &str = "connection: close\r\n";
    let mut webhook = Webhook::start(&["--shutdown-delay", "1h"]);
    assert!(!answered_connection(&webhook).1.contains(CLOSES));
    webhook.signal(Signal::SIGTERM);
    webhook.log_line("draining");
    eventually("it is not ready", || webhook.admin_page("/readyz").status == 503);
    assert!(webhook.admin_page("/readyz").body.contains("draining"));
    assert!(webhook.review(&review_of(&pod())).get("patch").is_some());
    assert!(answered_connection(&webhook).1.contains(CLOSES));
    webhook.signal(Signal::SIGINT);
    assert_eq!(webhook.ended().code(), Some(2));
}

/// A keep-alive connection on which a review was answered, and the head of the answer.
fn answered_connection(webhook: &Webhook) -> (common::Connection, String) {
    let body = review_of(&pod()).to_string();
    let head = head("POST", "/mutate", "application/json", body.len()).replace("connection: close\r\n", "");
    let mut connection = webhook.connect();
    let sent = connection.write_all(format!("{head}{body}").as_bytes());
    sent.and_then(|()| connection.flush()).expect("writes");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).expect("reads");
        answer.extend(byte);
    }
    let head = String::from_utf8(answer).expect("UTF-8");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    (connection, head)
}

#[test]
fn address_in_use_is_reported_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        program().args(["--listen", &address, "--admin-listen", "127.0.0.1:0"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&format!("cannot listen on --listen {address}")), "{message}");
}

#[test]
fn changed_tls_files_are_served_once_both_match() {
    let make = || Identity::make(&["webhook.test".to_owned()], std::time::SystemTime::now()).expect("makes");
    let [first, second] = [make(), make()].map(|identity| identity.parts());
    let folder = tempfile::tempdir().expect("a folder");
    let write = |parts: &BTreeMap<String, Vec<u8>>, name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, &parts[name]).expect("writes");
        path.to_str().expect("UTF-8").to_owned()
    };
    let flags = ["--tls-cert", &write(&first, "tls.crt"), "--tls-key", &write(&first, "tls.key")];
    let webhook = Webhook::start(&flags);
    let is_answered = |parts: &BTreeMap<String, Vec<u8>>| {
        let ca = CertificateDer::from_pem_slice(&parts["ca.crt"]).expect("a CA");
        is_answered(connect(webhook.address, &ca))
    };
    assert!(is_answered(&first) && !is_answered(&second));
    // cert-manager updates a Secret atomically; a person copies one file after the other.
    write(&second, "tls.key");
    webhook.log_line("keeping the previous certificate");
    assert!(is_answered(&first));
    write(&second, "tls.crt");
    eventually("the new one is served", || is_answered(&second));
    assert!(!is_answered(&first));
}

/// A connection on which the first half of a review was sent, and the other half. The server has read the
/// head and requested the body.
fn half_a_review(webhook: &Webhook) -> (common::Connection, Vec<u8>) {
    let body = review_of(&pod()).to_string().into_bytes();
    let head = head("POST", "/mutate", "application/json", body.len());
    let head = head.replace("content-type", "expect: 100-continue\r\ncontent-type");
    let mut connection = webhook.connect();
    connection.write_all(head.as_bytes()).and_then(|()| connection.flush()).expect("writes");
    let mut goon = [0; 25];
    connection.read_exact(&mut goon).expect("reads");
    assert_eq!(&goon, b"HTTP/1.1 100 Continue\r\n\r\n");
    let (first, rest) = body.split_at(body.len() / 2);
    connection.write_all(first).and_then(|()| connection.flush()).expect("writes");
    (connection, rest.to_vec())
}
