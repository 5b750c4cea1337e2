//! Faults around a sidecar: time jumps, file descriptors run out. `tests/cluster/faults` has those of its upstream.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::ask;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::programs::Programs;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// For a stopped process the clock jumps: a suspended machine, a frozen cgroup, a debugger. The wall clock is
/// not read at all (`tests/repository.rs`).
#[tokio::test]
async fn expired_answers_are_refetched_after_a_clock_jump() -> Result<(), Failure> {
    let upstream = Upstream::start(1).await?;
    upstream.change(|behaviour| behaviour.ttl = 2);
    let proxy = Proxy::start(&Programs::build()?.sidecar, upstream.address, &[]).await?;
    assert!(ask(proxy.dns, "www.example.com").await?.is_answered());
    proxy.signal(Signal::SIGSTOP)?;
    let dns = proxy.dns;
    let waiting = (0..20).map(|number| async move { ask(dns, &format!("name-{number}.example.com")).await });
    let resume = async {
        sleep(Duration::from_secs(3)).await;
        proxy.signal(Signal::SIGCONT)
    };
    let (seen, resumed) = tokio::join!(join_all(waiting), resume);
    resumed?;
    for seen in seen {
        assert!(seen?.is_answered());
    }
    let before = upstream.asked();
    assert!(ask(proxy.dns, "www.example.com").await?.is_answered());
    assert!(upstream.asked() > before, "its TTL of 2 s passed meanwhile");
    Ok(())
}

#[tokio::test]
async fn without_descriptors_known_names_resolve_and_new_ones_resolve_later() -> Result<(), Failure> {
    let folder = tempfile::tempdir().with_context("creating a folder")?;
    let script = folder.path().join("sidecar");
    let text = format!("#!/bin/sh\nulimit -n 24\nexec {} \"$@\"\n", Programs::build()?.sidecar.display());
    fs::write(&script, text).with_context("writing a script")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).with_context("its mode")?;
    let upstream = Upstream::start(1).await?;
    let proxy = Proxy::start(&script, upstream.address, &[]).await?;
    assert!(ask(proxy.dns, "known.example.com").await?.is_answered());
    let connect = (0..64).map(|_| TcpStream::connect(proxy.dns));
    let connections: Vec<_> = join_all(connect).await.into_iter().flatten().collect();
    let mut attempts = 0;
    while proxy.descriptors()? < 24 {
        attempts += 1;
        assert!(attempts < 500, "{} descriptors, {} connections", proxy.descriptors()?, connections.len());
        sleep(Duration::from_millis(10)).await;
    }
    assert!(ask(proxy.dns, "known.example.com").await?.is_answered());
    assert!(
        ask(proxy.dns, "new.example.com").await?.response.is_some(),
        "answered, or refused with SERVFAIL"
    );
    drop(connections);
    let mut attempts = 0;
    while !ask(proxy.dns, &format!("later-{attempts}.example.com")).await?.is_answered() {
        attempts += 1;
        assert!(attempts < 100, "descriptors are there again, and not used");
    }
    Ok(())
}
