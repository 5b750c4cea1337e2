//! A tier, and sidecars before it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::failure::Failure;
use crate::faults::proxy::Proxy;

/// Any free port of the loopback.
pub const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Sidecars as processes all ask from 127.0.0.1: to a tier with its bounds for one source they would be one pod.
pub const ONE_SOURCE: [&str; 6] = [
    "--max-misses-per-source",
    "0",
    "--max-miss-rate-per-source",
    "0",
    "--max-tcp-connections-per-source",
    "0",
];

/// A tier at that address, on one core or on all, before an upstream.
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

/// Sidecars of pods in the namespace `default`, with a tier, and cluster DNS as the fallback.
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

/// A free port that the kernel gives to nobody who asks for any: it stays free while the tier that had it is dead.
pub fn own_port(seed: u64) -> Result<SocketAddr, Failure> {
    let mut random = fastrand::Rng::with_seed(seed ^ u64::from(std::process::id()));
    // The kernel's own begin at 32,768 (net.ipv4.ip_local_port_range).
    let candidates =
        std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], random.u16(20_000..30_000))));
    let is_free = |address: &SocketAddr| UdpSocket::bind(address).is_ok();
    candidates.take(100).find(is_free).ok_or_else(|| Failure::new("no free port of 100 that were tried"))
}
