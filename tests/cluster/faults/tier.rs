//! The shared tier is killed, restarted, and scaled to zero.

use std::time::Duration;

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::metrics::SIDECAR_PORT;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::tier::{self, LABEL, NAME};
use podlocal_harness::cluster::{kubectl, name_of};
use podlocal_harness::failure::Failure;
use podlocal_harness::time::now;
use serde_json::json;
use tokio::time::sleep;

use super::{NAMES, annotate, assert_none_failed, with_short_cache_ttl};
use crate::runner::Context;

/// The time for which each fault is observed.
const WATCHED: Duration = Duration::from_secs(4);

pub(crate) async fn no_lookup_fails_while_the_tier_is_killed_restarted_and_gone(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let address = tier::start(namespace, 2, None).await?;
    let mut pod = with_short_cache_ttl(load::pod(Libc::Glibc, &NAMES));
    annotate(&mut pod, "shared-tier", &address);
    let load = Load::start(namespace, pod).await?;
    context.release_installation();
    let (asked, begin) = (queries(namespace).await?, now());
    sleep(Duration::from_secs(1)).await;
    assert!(queries(namespace).await? > asked, "the lookups do not reach the tier");

    let pods = namespace.pods(LABEL).await?;
    let victim = pods.first().map_or("", name_of);
    kubectl(&["-n", &namespace.name, "delete", "pod", victim, "--grace-period=0", "--force"]).await?;
    sleep(WATCHED).await;
    let killed = now();
    assert_none_failed("tier's pod killed", load.between(begin, killed).await?);

    namespace.wait_for_rollout(&format!("deployment/{NAME}")).await?;
    kubectl(&["-n", &namespace.name, "rollout", "restart", &format!("deployment/{NAME}")]).await?;
    namespace.wait_for_rollout(&format!("deployment/{NAME}")).await?;
    sleep(WATCHED).await;
    let restarted = now();
    assert_none_failed("tier restarted", load.between(killed, restarted).await?);

    namespace.patch("apps/v1", "Deployment", NAME, &json!({ "spec": { "replicas": 0 } })).await?;
    // Its pods answer for a while after SIGTERM (lame duck); the fault begins when they are gone.
    kubectl(&["-n", &namespace.name, "delete", "pod", "-l", LABEL, "--grace-period=0", "--force"]).await?;
    sleep(WATCHED).await;
    assert_none_failed("tier scaled to zero", load.between(restarted, now()).await?);
    Ok(())
}

async fn queries(namespace: &Namespace) -> Result<u64, Failure> {
    namespace.sum_of_pods(LABEL, SIDECAR_PORT, "podlocal_dns_queries_total", &[]).await
}
