//! The built proxy as a process: exit codes, probes, the drain, freed ports.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use support::{Proxy, RecordType, Script, Upstream, address, ask, ask_tcp, program, query, start};

/// An upstream that answers after that time, and a proxy in front of it.
async fn behind_slow(milliseconds: u64, flags: &[&str]) -> (Upstream, Proxy) {
    let time = Duration::from_millis(milliseconds);
    start(move |query, _| Script::Later(time, address(query)), flags).await
}

#[tokio::test]
async fn what_keeps_the_proxy_from_starting_is_named_with_an_exit_code() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let taken = socket.local_addr().expect("an address").to_string();
    let bad = ["--cache-size=4MB", "--upstream", "dns.example", "--max-ttl", "60", "--nonsense"];
    let bad_parts =
        ["--cache-size", "4MB", "dns.example", "--max-ttl", "--nonsense", "PODLOCAL_LOG_LEVEL", "loud"];
    for (arguments, exit_code, parts) in [
        (bad.as_slice(), 64, bad_parts.as_slice()),
        (&["supervise", "--max-ttl", "60"], 64, &["--max-ttl"]),
        (
            &["--listen", &taken, "--upstream", "127.0.0.1:9", "--admin-port", "0"],
            1,
            &[&taken, "another program", "WARN", "PODLOCAL_FUTURE"],
        ),
    ] {
        let mut command = program();
        command.env("PODLOCAL_FUTURE", "1"); // a variable of a newer version
        if exit_code == 64 {
            command.env("PODLOCAL_LOG_LEVEL", "loud");
        }
        let output = command.args(arguments).output().await.expect("runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(exit_code), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is missing in:\n{said}");
        }
        assert!(said.matches("--max-ttl").count() <= 1, "{said}");
    }
}

#[tokio::test]
async fn sigterm_drains_the_answers_and_frees_every_port() {
    let (upstream, mut proxy) = behind_slow(500, &[]).await;
    let dns = proxy.dns;
    let by_udp = tokio::spawn(async move { ask(dns, &query("www.example.", RecordType::A, 1, None)).await });
    let tcp_query = query("www.example.", RecordType::AAAA, 2, None);
    let by_tcp = tokio::spawn(async move { ask_tcp(dns, &tcp_query).await });
    let idle = TcpStream::connect(dns).await.expect("connects");
    while upstream.asked() < 2 {
        tokio::task::yield_now().await;
    }
    proxy.signal(Signal::SIGTERM);
    proxy.logged("draining").await;
    assert_eq!(by_udp.await.expect("asked").answers.len(), 1);
    assert_eq!(by_tcp.await.expect("asked").answers.len(), 1);
    assert_eq!(proxy.exit_code().await, 0);
    drop(idle);
    UdpSocket::bind(dns).await.expect("the UDP port is free again");
    TcpListener::bind(dns).await.expect("the TCP port is free again");
    TcpListener::bind(proxy.admin).await.expect("the admin port is free again");
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_and_the_exit_code_is_2() {
    let (upstream, mut proxy) = start(|_, _| Script::Silence, &[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let question = query("www.example.", RecordType::A, 1, None).to_vec().expect("encodes");
    socket.send_to(&question, proxy.dns).await.expect("sends");
    while upstream.asked() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.signal(Signal::SIGTERM);
    proxy.logged("draining").await;
    assert!(proxy.http("/readyz").await.contains("not ready: draining"));
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.exit_code().await, 2);
}

#[tokio::test]
async fn the_admin_port_answers_probes_and_scrapes() {
    let (_upstream, proxy) = behind_slow(0, &[]).await;
    assert!(proxy.http("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(proxy.http("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(proxy.http("/metrics").await.contains("podlocal_dns_build_info{version="));
    assert!(proxy.http("/nowhere").await.starts_with("HTTP/1.1 404"));
    let port = proxy.admin.port().to_string();
    for command in ["await", "health"] {
        let status = program().args([command, "--admin-port", &port]).status().await.expect("runs");
        assert_eq!(status.code(), Some(0), "{command}");
    }
}

#[tokio::test]
async fn without_a_proxy_health_fails_and_await_lets_the_pod_start() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = unused.local_addr().expect("an address").port().to_string();
    drop(unused);
    let health = program().args(["health", "--admin-port", &port]).output().await.expect("runs");
    assert_eq!(health.status.code(), Some(1));
    let arguments = ["await", "--ready-timeout", "100ms", "--admin-port", &port];
    let held = program().args(arguments).output().await.expect("runs");
    assert_eq!(held.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&held.stderr).contains("the pod starts anyway"));
}

#[tokio::test]
async fn names_to_prefetch_are_in_the_cache_when_await_returns() {
    let (upstream, proxy) = behind_slow(100, &["--prefetch-names", "www.example,api.example."]).await;
    let port = proxy.admin.port().to_string();
    assert!(proxy.http("/readyz").await.contains("prefetch-names"), "what is missing is named");
    let status = program().args(["await", "--admin-port", &port]).status().await.expect("runs");
    assert_eq!(status.code(), Some(0));
    assert_eq!(upstream.asked(), 4, "A and AAAA of each");
    for name in ["WWW.example.", "api.example."] {
        proxy.finds(name).await;
    }
    assert_eq!((proxy.outcomes("hit").await, upstream.asked()), (2, 4));
}

#[tokio::test]
async fn prefetch_delays_the_pod_for_ready_timeout_at_most() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let upstream = dead.local_addr().expect("an address");
    let more = ["--prefetch-names", "www.example", "--ready-timeout", "200ms"];
    let mut proxy = Proxy::start(&[upstream], &more).await;
    proxy.logged("continuing without them").await;
    assert!(proxy.http("/readyz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_flood_does_not_keep_the_drain_from_ending() {
    let (_upstream, mut proxy) = behind_slow(0, &[]).await;
    let query = query("www.example.", RecordType::A, 1, None);
    proxy.finds("www.example.").await;
    let (is_over, bytes, dns) =
        (Arc::new(AtomicBool::new(false)), query.to_vec().expect("encodes"), proxy.dns);
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let (is_over, bytes) = (Arc::clone(&is_over), bytes.clone());
            std::thread::spawn(move || {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
                while !is_over.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&bytes, dns); // fails when the proxy has ended
                }
            })
        })
        .collect();
    proxy.signal(Signal::SIGTERM);
    let ended = timeout(Duration::from_secs(30), proxy.exit_code()).await;
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("no panic");
    }
    assert_eq!(ended, Ok(0), "it ended while the flood went on");
}
