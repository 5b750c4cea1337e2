//! The shared tier is killed, restarted, and scaled to zero.

use std::time::Duration;

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{kubectl, name_of, product};
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_harness::time::now;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{NAMES, annotate, assert_none_failed, that_asks_upstream};
use crate::runner::{Context, Test, tests};

/// The name of the tier's objects, and its pods.
const NAME: &str = "podlocal-dns-shared";
const LABEL: &str = "app.kubernetes.io/name=podlocal-dns-shared";

/// How long each fault is watched.
const WATCHED: Duration = Duration::from_secs(4);

pub(super) fn tests() -> Vec<Test> {
    tests![no_lookup_fails_while_the_tier_is_killed_restarted_and_gone]
}

async fn no_lookup_fails_while_the_tier_is_killed_restarted_and_gone(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let address = start(namespace).await?;
    let mut pod = that_asks_upstream(load::pod(Libc::Glibc, &NAMES));
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

    namespace.rolled_out(&format!("deployment/{NAME}")).await?;
    kubectl(&["-n", &namespace.name, "rollout", "restart", &format!("deployment/{NAME}")]).await?;
    namespace.rolled_out(&format!("deployment/{NAME}")).await?;
    sleep(WATCHED).await;
    let restarted = now();
    assert_none_failed("tier restarted", load.between(killed, restarted).await?);

    namespace.patch("apps/v1", "Deployment", NAME, &json!({ "spec": { "replicas": 0 } })).await?;
    // Its pods go on answering for a while after SIGTERM; the fault is that they are gone.
    kubectl(&["-n", &namespace.name, "delete", "pod", "-l", LABEL, "--grace-period=0", "--force"]).await?;
    sleep(WATCHED).await;
    assert_none_failed("tier scaled to zero", load.between(restarted, now()).await?);
    Ok(())
}

/// Installs the overlay in the test's namespace, without what belongs to the whole cluster, and with two replicas. Returns
/// the address of its Service.
async fn start(namespace: &Namespace) -> Result<String, Failure> {
    let objects = kubectl(&["create", "-k", product::SHARED_TIER, "--dry-run=client", "-o", "json"]).await?;
    let objects = serde_json::Deserializer::from_str(&objects).into_iter::<Value>();
    for object in objects {
        let object = object.tried(|| format!("reading {}", product::SHARED_TIER))?;
        let items = object["items"].as_array().cloned().unwrap_or_else(|| vec![object]);
        for mut item in items {
            match item["kind"].as_str() {
                // The autoscaler would take its replicas back.
                Some("PriorityClass" | "HorizontalPodAutoscaler") => continue,
                Some("Deployment") => {
                    item["spec"]["replicas"] = json!(2);
                    if let Some(pod) = item["spec"]["template"]["spec"].as_object_mut() {
                        pod.remove("priorityClassName");
                    }
                }
                _ => {}
            }
            namespace.apply(item).await?;
        }
    }
    namespace.rolled_out(&format!("deployment/{NAME}")).await?;
    let service = namespace.get("v1", "Service", NAME).await?;
    Ok(service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned())
}

async fn queries(namespace: &Namespace) -> Result<f64, Failure> {
    namespace.sum_of_proxies(LABEL, "podlocal_dns_queries_total").await
}
