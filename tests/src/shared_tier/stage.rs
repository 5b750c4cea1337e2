//! A tier, and sidecars before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::failure::Failure;
use crate::faults::proxy::Proxy;

/// Any free port of the loopback.
pub(super) const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A tier at that address, on one core or on all, before an upstream.
pub(super) async fn tier(
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

/// The sidecar of a pod in the namespace `default`, with a tier, and cluster DNS as the fallback.
pub(super) async fn sidecar(
    program: &Path,
    tier: SocketAddr,
    upstream: SocketAddr,
) -> Result<Proxy, Failure> {
    Proxy::start(program, upstream, &["--namespace", "default", "--shared-tier", &tier.to_string()]).await
}
