//! A shared tier, and sidecars in front of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::failure::{Failure, WithContext};
use crate::loopback::proxy::Proxy;

/// Any free port of the loopback.
pub const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Flags that disable the limits per source: sidecars as processes all send from 127.0.0.1, so the tier would
/// treat them as one pod.
pub const ONE_SOURCE: [&str; 6] = [
    "--max-misses-per-source",
    "0",
    "--max-miss-rate-per-source",
    "0",
    "--max-tcp-connections-per-source",
    "0",
];

/// Starts a tier at this address, on one core or on all, in front of an upstream.
pub async fn tier(
    program: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    flags: &[&str],
    core: Option<usize>,
) -> Result<Proxy, Failure> {
    let (address, upstream) = (address.to_string(), upstream.to_string());
    let ours = ["--role", "shared", "--listen", &address, "--admin-port", "0", "--upstream", &upstream];
    Proxy::launch(program, &[&ours, flags].concat(), core).await
}

/// Starts sidecars of pods in the namespace `default`, with a tier, and with cluster DNS as the fallback.
pub async fn sidecars(
    program: &Path,
    count: usize,
    tier: SocketAddr,
    upstream: SocketAddr,
) -> Result<Vec<Proxy>, Failure> {
    let flags = ["--namespace", "default", "--shared-tier", &tier.to_string()];
    let mut sidecars = Vec::with_capacity(count);
    for _ in 0..count {
        sidecars.push(Proxy::start(program, upstream, &flags).await?);
    }
    Ok(sidecars)
}

/// A free port outside the kernel's range of ephemeral ports, so that it stays free while the tier is down.
pub fn own_port(seed: u64) -> Result<SocketAddr, Failure> {
    let mut random = fastrand::Rng::with_seed(seed ^ u64::from(std::process::id()));
    // Ephemeral ports start at 32,768 (net.ipv4.ip_local_port_range).
    let candidates =
        std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], random.u16(20_000..30_000))));
    let is_free = |address: &SocketAddr| UdpSocket::bind(address).is_ok();
    candidates.take(100).find(is_free).with_context("found no free port in 100 attempts")
}
