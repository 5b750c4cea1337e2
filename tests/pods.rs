//! Injected pods without a cluster: their lookups, and the number of their queries to cluster DNS.
//!
//! The order of containers, restarts and the end of a pod belong to the kubelet: `tests/cluster` tests them
//! on a real node.

use std::process::ExitCode;

use podlocal_harness::failure::Failure;
use podlocal_harness::model::lookup::Lookup;
use podlocal_harness::model::pod::{Running, Status};
use podlocal_harness::model::testbed::{self, Testbed};
use podlocal_harness::tests;
use podlocal_settings::{names, table};
use serde_json::{Value, json};

fn main() -> ExitCode {
    testbed::run(tests![
        with_ndots_5_the_sidecar_sends_four_queries_then_two_then_none,
        port_53_needs_the_sysctl_and_nothing_else,
        a_pod_with_an_unusable_admin_port_starts_with_the_default,
    ])
}

/// The owner of a namespace may choose any settings, and its pods must start nevertheless.
async fn a_pod_with_an_unusable_admin_port_starts_with_the_default(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let mut pod = sleeping_pod();
    pod["metadata"]["annotations"] = json!({ table::ADMIN_PORT.annotation(): "53" });
    let running = cluster.create(pod, "default").await?;
    running.wait_until_started("app").await?;
    let lookups = look_up(&running, &["web"]).await?;
    assert_eq!(lookups.len(), 1, "{}", running.status().describe());
    Ok(())
}

/// A pod that sleeps.
fn sleeping_pod() -> Value {
    json!({
        "metadata": { "name": "app" },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "example/app:1", "command": ["sleep", "300"] }],
        },
    })
}

async fn look_up(running: &Running, words: &[&str]) -> Result<Vec<Lookup>, Failure> {
    let words: Vec<&str> = ["lookup"].iter().chain(words).copied().collect();
    let executed = running.execute("app", &words).await?;
    let lookups = Lookup::read_all(&executed.stdout);
    assert!(executed.is_success, "{words:?}: {executed:?}\n{}", running.status().describe());
    Ok(lookups)
}

async fn with_ndots_5_the_sidecar_sends_four_queries_then_two_then_none(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let mut pod = sleeping_pod();
    pod["spec"]["dnsConfig"] = json!({ "options": [{ "name": "ndots", "value": "5" }] });
    let running = cluster.create(pod, "default").await?;
    running.wait_until_started("app").await?;
    for (name, most) in [("api.example.com", 4), ("www.example.com", 2), ("api.example.com", 0)] {
        cluster.dns.reset_counts();
        look_up(&running, &[name]).await?;
        let counts = cluster.dns.counts();
        assert!(counts.total() <= most, "{name}: {counts}");
    }
    Ok(())
}

/// Removes the sysctl from the pod: then the sidecar, which has uid 65532 and no capabilities, cannot bind
/// the port.
async fn port_53_needs_the_sysctl_and_nothing_else(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let spec = cluster.admit(sleeping_pod(), "default").await?;

    let with = cluster.run(spec.clone())?;
    with.wait_until_started("app").await?;
    let identity = with.execute(names::CONTAINER_NAME, &["cat", "/proc/self/status"]).await?.stdout;
    assert_eq!(line_of(&identity, "Uid:"), ["65532"; 4], "{identity}");
    assert_eq!(line_of(&identity, "CapEff:"), ["0000000000000000"], "{identity}");
    look_up(&with, &["www.example.com"]).await?;

    let mut without = spec;
    without.pod["spec"]["securityContext"]["sysctls"] = json!([]);
    let without = cluster.run(without)?;
    let has_ended = |status: &Status| status.exit(names::CONTAINER_NAME).is_some();
    let status = without.wait_for("the sidecar to end", has_ended).await?;
    assert!(!status.exit(names::CONTAINER_NAME).is_some_and(|exit| exit.success()), "{}", status.describe());
    let said = status.container(names::CONTAINER_NAME).map(|sidecar| sidecar.error.as_str());
    assert!(said.is_some_and(|said| said.contains("ermission denied")), "{}", status.describe());
    Ok(())
}

fn line_of<'a>(status: &'a str, key: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_default().split_whitespace().collect()
}
