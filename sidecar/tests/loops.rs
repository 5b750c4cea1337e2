//! Loops: upstreams that lead back to the proxy, directly or through other proxies and forwarders. The proxy
//! detects a loop when its query comes back, and answers SERVFAIL. A hidden loop costs a limited number of
//! queries.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hickory_proto::op::Message;
use tokio::net::UdpSocket;

use support::{Proxy, ResponseCode, Upstream, address, start};

/// Forwards queries to another address without EDNS, and so without the marker, and the answers back.
async fn relay_without_edns(to: SocketAddr) -> SocketAddr {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("binds"));
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).expect("a query");
            message.edns = None;
            let bytes = message.to_vec().expect("encodes");
            let back = Arc::clone(&socket);
            tokio::spawn(async move {
                let answer = support::ask_bytes(to, &bytes).await;
                let _ = back.send_to(&answer, client).await;
            });
        }
    });
    address
}

/// Free addresses: those of proxies that query each other must be known before they start. They are on the
/// loopback, and differ from those of all other tests, so that no other process takes a port until then.
async fn reserved<const COUNT: usize>() -> [SocketAddr; COUNT] {
    static CALLS: AtomicU8 = AtomicU8::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let mut sockets = Vec::new();
    for _ in 0..COUNT {
        sockets.push(UdpSocket::bind((Ipv4Addr::new(127, call, high, low), 0)).await.expect("binds"));
    }
    std::array::from_fn(|index| sockets[index].local_addr().expect("an address"))
}

/// Proxies, each of which queries the next one, and the last one the first.
async fn ring<const COUNT: usize>(more: &[&str]) -> Vec<Proxy> {
    let addresses = reserved::<COUNT>().await;
    let mut proxies = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let next = addresses[(index + 1) % COUNT];
        proxies.push(Proxy::start_at(*address, &[next], more).await);
    }
    proxies
}

async fn fails(proxy: &Proxy, name: &str) {
    assert_eq!(proxy.rcode(name).await, ResponseCode::ServFail, "{name}");
}

/// The sum of a metric's series over the proxies.
async fn sum(proxies: &[Proxy], metric: &str) -> u64 {
    let mut sum = 0;
    for proxy in proxies {
        let metrics = proxy.http("/metrics").await;
        let series = metrics.lines().filter(|line| line.starts_with(metric));
        sum += series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum::<u64>();
    }
    sum
}

const LOOPS: &str = "podlocal_dns_upstream_loops_total";
const ATTEMPTS: &str = "podlocal_dns_upstream_attempts_total";

#[tokio::test]
async fn proxies_in_a_ring_send_one_query_each_and_fail() {
    for transport in ["udp", "tcp"] {
        let flags = ["--upstream-transport", transport];
        let rings = [ring::<2>(&flags).await, ring::<3>(&flags).await];
        for mut proxies in rings {
            fails(&proxies[0], "www.example.").await;
            assert_eq!(sum(&proxies, LOOPS).await, 1, "{transport}");
            assert_eq!(sum(&proxies, ATTEMPTS).await, proxies.len() as u64, "{transport}");
            assert_eq!(sum(&proxies, "podlocal_dns_upstream_retransmissions_total").await, 0, "{transport}");
            proxies[0].logged("leads back to this proxy").await;
        }
    }
}

#[tokio::test]
async fn two_proxies_that_query_each_other_at_once_fail_soon() {
    let proxies = ring::<2>(&[]).await;
    let names: Vec<_> = (0..3).map(|number| format!("n{number}.example.")).collect();
    for name in &names {
        tokio::join!(fails(&proxies[0], name), fails(&proxies[1], name));
    }
    assert!(sum(&proxies, LOOPS).await >= 3);
}

#[tokio::test]
async fn a_tier_that_is_a_loop_costs_one_query() {
    let upstream = Upstream::start(|query, _| address(query)).await;
    let [sidecar, tier] = reserved().await;
    let tier_at = tier.to_string();
    let tier = Proxy::start_at(tier, &[sidecar], &["--role", "shared"]).await;
    let sidecar = Proxy::start_at(sidecar, &[upstream.address], &["--shared-tier", &tier_at]).await;
    sidecar.finds("www.example.").await;
    let proxies = [sidecar, tier];
    assert_eq!((sum(&proxies, LOOPS).await, sum(&proxies, ATTEMPTS).await, upstream.asked()), (1, 3, 1));
}

#[tokio::test]
async fn a_sidecar_behind_the_tier_is_not_a_loop() {
    let (upstream, tier) = start(|query, _| address(query), &["--role", "shared"]).await;
    let sidecar = Proxy::start(&[upstream.address], &["--shared-tier", &tier.dns.to_string()]).await;
    sidecar.finds("www.example.").await;
    assert_eq!((sum(&[sidecar, tier], LOOPS).await, upstream.asked()), (0, 1));
}

#[tokio::test]
async fn a_loop_through_a_forwarder_without_edns_costs_a_few_queries() {
    let [one, other] = reserved().await;
    let proxies = [
        Proxy::start_at(one, &[relay_without_edns(other).await], &[]).await,
        Proxy::start_at(other, &[relay_without_edns(one).await], &[]).await,
    ];
    fails(&proxies[0], "www.example.").await;
    let attempts = sum(&proxies, ATTEMPTS).await;
    assert!(attempts <= 16, "{attempts} for one question");
}
