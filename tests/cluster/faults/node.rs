//! The container runtime of the node restarts.

use std::time::Duration;

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::{eventually, on_node, product};
use podlocal_harness::failure::Failure;
use podlocal_harness::time::now;
use tokio::time::sleep;

use super::{NAMES, assert_none_failed, with_short_cache_ttl};
use crate::runner::Context;

pub(crate) async fn pods_resolve_and_start_while_containerd_restarts(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let load = Load::start(namespace, with_short_cache_ttl(load::pod(Libc::Glibc, &NAMES))).await?;
    let begin = now();
    let containerd = async || run_on_node(&["pidof", "containerd"]).await;
    let before = containerd().await?;
    run_on_node(&["pkill", "-x", "containerd"]).await?;
    eventually("containerd answers again", async || {
        run_on_node(&["ctr", "version"]).await?;
        Ok((containerd().await? != before).then_some(()))
    })
    .await?;
    let name = namespace.run(pod("new", Libc::Glibc, &SLEEP)).await?;
    assert!(product::sidecar(&namespace.pod(&name).await?).is_some());
    let lookups = namespace.look_up(&name, &NAMES).await?;
    assert!(!lookups.iter().any(Lookup::is_failure), "{lookups:?}");
    sleep(Duration::from_secs(1)).await;
    assert_none_failed("containerd restarted", load.between(begin, now()).await?);
    Ok(())
}

async fn run_on_node(words: &[&str]) -> Result<String, Failure> {
    on_node(words).await.unwrap_or_else(|| Err(Failure::new("no access to the node")))
}
