//! The built proxy as a process: exit codes, probes, the drain, freed ports.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sys::signal::Signal;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use support::{Proxy, Script, Upstream, ask, ask_tcp, program, query, reply};

/// An upstream that answers after that time.
async fn slow(time: Duration) -> Upstream {
    Upstream::start(move |query, _| {
        let name = Name::from_ascii("www.example.").expect("a name");
        let record = Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::LOCALHOST)));
        Script::Later(time, reply(query, ResponseCode::NoError, vec![record]))
    })
    .await
}

#[tokio::test]
async fn bad_settings_are_all_named_at_once_and_the_exit_code_is_64() {
    let arguments = ["--cache-size=4MB", "--upstream", "dns.example", "--max-ttl", "60", "--nonsense"];
    let output = program().args(arguments).env("PODLOCAL_LOG_LEVEL", "loud").output().await.expect("runs");
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(64), "{message}");
    for part in
        ["--cache-size", "4MB", "dns.example", "--max-ttl", "--nonsense", "PODLOCAL_LOG_LEVEL", "loud"]
    {
        assert!(message.contains(part), "{part} is missing in:\n{message}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_the_proxy_itself_is_a_bad_setting() {
    for (flag, other) in [("--upstream", "--shared-tier"), ("--shared-tier", "--upstream")] {
        let ours = ["--listen", "127.0.0.1:5399", flag, "127.0.0.1:5399", other, "127.0.0.1:5300"];
        let output = program().args(ours).output().await.expect("runs");
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("{flag}: ")) && !said.contains(&format!("{other}: ")), "{said}");
    }
}

#[tokio::test]
async fn an_admin_port_that_dns_is_served_on_is_a_bad_setting() {
    let arguments = ["--listen", "127.0.0.1:5399", "--upstream", "127.0.0.1:9", "--admin-port", "5399"];
    let output = program().args(arguments).output().await.expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("--admin-port: invalid value \"5399\": expected a port that DNS is not served on"),
        "{said}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named_and_the_exit_code_is_1() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    let arguments = ["--listen", &address, "--upstream", "127.0.0.1:9", "--admin-port", "0"];
    let output = program().args(arguments).output().await.expect("runs");
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(&address) && message.contains("another program"), "{message}");
}

#[tokio::test]
async fn sigterm_drains_the_answers_and_frees_every_port() {
    let upstream = slow(Duration::from_millis(500)).await;
    let mut proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let by_udp = tokio::spawn(async move { ask(dns, &query("www.example.", RecordType::A, 1, None)).await });
    let by_tcp =
        tokio::spawn(async move { ask_tcp(dns, &query("www.example.", RecordType::AAAA, 2, None)).await });
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
    let upstream = Upstream::start(|_, _| Script::Silence).await;
    let mut proxy = Proxy::start(&[upstream.address], &[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let question = query("www.example.", RecordType::A, 1, None).to_vec().expect("encodes");
    socket.send_to(&question, proxy.dns).await.expect("sends");
    while upstream.asked() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.signal(Signal::SIGTERM);
    proxy.logged("draining").await;
    assert!(
        proxy.http("/readyz").await.contains("not ready: draining"),
        "probes are answered during the drain"
    );
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.exit_code().await, 2);
}

#[tokio::test]
async fn the_admin_port_answers_probes_and_scrapes() {
    let upstream = slow(Duration::ZERO).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    assert!(proxy.http("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(proxy.http("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(proxy.http("/metrics").await.contains("podlocal_dns_build_info{version="));
    assert!(proxy.http("/nowhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn await_and_health_report_when_the_proxy_is_ready() {
    let upstream = slow(Duration::ZERO).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
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
    let upstream = slow(Duration::from_millis(100)).await;
    let proxy = Proxy::start(&[upstream.address], &["--prefetch-names", "www.example,api.example."]).await;
    let port = proxy.admin.port().to_string();
    assert!(proxy.http("/readyz").await.contains("prefetch-names"), "what is missing is named");
    let status = program().args(["await", "--admin-port", &port]).status().await.expect("runs");
    assert_eq!(status.code(), Some(0));
    assert_eq!(upstream.asked(), 4, "A and AAAA of each");
    for name in ["WWW.example.", "api.example."] {
        ask(proxy.dns, &query(name, RecordType::A, 1, None)).await;
    }
    assert_eq!(proxy.metric("podlocal_dns_query_outcomes_total{outcome=\"hit\"}").await, 2);
    assert_eq!(upstream.asked(), 4);
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
async fn a_variable_of_a_newer_version_is_a_warning() {
    let mut command = program();
    command.env("PODLOCAL_FUTURE", "1").args(["--listen", "127.0.0.1:0", "--admin-port", "0"]);
    let mut child = command
        .args(["--upstream", "127.0.0.1:9"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    let mut log = tokio::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut first = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut log, &mut first).await.expect("reads");
    assert!(first.contains("WARN") && first.contains("PODLOCAL_FUTURE"), "{first}");
}

#[tokio::test]
async fn a_flood_does_not_keep_the_drain_from_ending() {
    let upstream = slow(Duration::ZERO).await;
    let mut proxy = Proxy::start(&[upstream.address], &[]).await;
    let query = query("www.example.", RecordType::A, 1, None);
    assert_eq!(ask(proxy.dns, &query).await.answers.len(), 1);
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
