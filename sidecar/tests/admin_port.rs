//! Clients that hold connections to the admin port: probes are answered meanwhile.

mod support;

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use support::{Proxy, address, connect_from, start};

/// Whether a probe gets its answer from the admin port.
async fn probe(proxy: &Proxy) -> bool {
    proxy.http("/livez").await.starts_with("HTTP/1.1 200")
}

/// Holds connections to the admin port after sending those bytes, while probes come from another source and
/// from the same one.
async fn probes_go_on(proxy: &Proxy, sources: u8, of_each: usize, sent: &[u8]) -> Vec<TcpStream> {
    let (mut held, before) = (Vec::new(), proxy.limit_reached("admin_connections").await);
    for source in 0..sources {
        for _ in 0..of_each {
            let mut stream = connect_from(Ipv4Addr::new(127, 1, source, 1), proxy.admin).await;
            let _ = stream.write_all(sent).await;
            held.push(stream);
            assert!(probe(proxy).await);
        }
    }
    assert!(proxy.limit_reached("admin_connections").await > before);
    held
}

#[tokio::test]
async fn idle_connections_to_the_admin_port_block_no_probe() {
    let (_upstream, proxy) = start(|query, _| address(query), &[]).await;
    let held = probes_go_on(&proxy, 1, 24, b"").await;
    let mut from_there = connect_from(Ipv4Addr::new(127, 1, 0, 1), proxy.admin).await;
    from_there.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
    let mut answer = String::new();
    from_there.read_to_string(&mut answer).await.expect("reads");
    assert!(answer.starts_with("HTTP/1.1 200"), "the same source has a probe, too: {answer:?}");
    drop(held);
}

#[tokio::test]
async fn half_a_request_on_every_connection_blocks_no_probe() {
    let (_upstream, proxy) = start(|query, _| address(query), &[]).await;
    probes_go_on(&proxy, 1, 40, b"GET /livez HTTP/1.1\r\nx: ").await;
    probes_go_on(&proxy, 64, 1, b"").await; // many sources with a connection each
}

#[tokio::test]
async fn unread_pages_of_metrics_block_no_probe_and_take_little_memory() {
    let (_upstream, proxy) = start(|query, _| address(query), &[]).await;
    assert!(probe(&proxy).await);
    let before = proxy.peak_memory();
    probes_go_on(&proxy, 2, 50, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let taken = proxy.peak_memory() - before;
    assert!(taken < 4 << 10, "{taken} KiB");
}
