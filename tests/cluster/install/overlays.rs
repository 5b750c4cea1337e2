//! Every overlay is installed, and everything is removed as docs/upgrade.md says. It is one test, because an
//! installation takes longer than the checks after it:
//!
//! ```text
//!   base with the shared tier -> a tier on each node -> without a tier -> base
//!        -> certificate of cert-manager -> with monitoring -> webhook removed -> everything removed -> base
//! ```

use std::collections::BTreeSet;

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::inventory::Item;
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::metrics::SIDECAR_PORT;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::product::{self, dry_run, tier_of};
use podlocal_harness::cluster::{eventually, kubectl};
use podlocal_harness::failure::Failure;
use podlocal_harness::time::now;

use super::cert_manager;
use super::definitions::Definitions;
use crate::faults::{NAMES, assert_none_failed, webhook, with_short_cache_ttl};
use crate::runner::Context;

const MONITORING: &str = "manifests/overlays/prometheus-operator";

const DAEMONSET: &str = "manifests/overlays/shared-daemonset";

const WITHOUT_TIER: &str = "manifests/overlays/without-shared-tier";

pub(crate) async fn overlays_work_and_removing_everything_leaves_nothing(
    context: Context,
) -> Result<(), Failure> {
    let cluster = &context.cluster;
    let namespace = &context.namespace;
    let load = Load::start(namespace, with_short_cache_ttl(load::pod(Libc::Glibc, &NAMES))).await?;
    let definitions = [
        Definitions::create(cluster, "cert-manager.io", "v1", &["Issuer", "Certificate"]).await?,
        Definitions::create(cluster, "monitoring.coreos.com", "v1", &["PodMonitor", "PrometheusRule"])
            .await?,
    ];
    let before = cluster.inventory().await?;
    let begin = now();

    // The overlays replace the Deployment of the tier and its Service, or remove the tier.
    let of_deployment = "app.kubernetes.io/name: podlocal-dns-shared\n";
    for (overlay, absent) in [(DAEMONSET, of_deployment), (WITHOUT_TIER, "podlocal-dns-shared")] {
        let rendered = kubectl(&["kustomize", overlay]).await?;
        assert!(!rendered.contains(absent), "{overlay}: {rendered}");
    }

    let mut told = vec![assert_tier_answers(&context, "deployment", "podlocal-dns-shared").await?];
    product::apply(DAEMONSET).await?;
    told.push(assert_tier_answers(&context, "daemonset", "podlocal-dns-shared-node").await?);
    product::apply(WITHOUT_TIER).await?;
    let tier = "deployment,daemonset,service,poddisruptionbudget,networkpolicy,serviceaccount";
    let label = "app.kubernetes.io/component=shared-tier";
    kubectl(&["-n", product::NAMESPACE, "delete", tier, "-l", label]).await?;
    eventually("new pods without a shared tier", async || {
        let pod = dry_run(cluster).await?;
        Ok((product::sidecar(&pod).is_some() && tier_of(&pod).is_none()).then_some(()))
    })
    .await?;
    told.push(namespace.run(pod("untold", Libc::Glibc, &SLEEP)).await?);

    product::install(cluster).await?;
    cert_manager::install(cluster).await?;
    product::apply(MONITORING).await?;
    webhook::pods_start_without_it(namespace, &load).await?;

    for overlay in [MONITORING, DAEMONSET, cert_manager::OVERLAY, product::BASE] {
        product::remove(overlay).await?;
    }
    let left = leftovers(&before, &cluster.inventory().await?);
    assert!(left.is_empty(), "left behind: {left:?}");
    for pod in told {
        assert_resolves(namespace, &pod, &["api.example.net", "kubernetes.default"]).await?;
    }
    assert_none_failed("everything installed and removed", load.between(begin, now()).await?);
    for definition in definitions {
        definition.remove().await?;
    }
    product::install(cluster).await
}

/// The objects that exist now and did not exist before, and the product's objects from before that still
/// exist (the base was installed at the start).
fn leftovers(before: &BTreeSet<Item>, after: &BTreeSet<Item>) -> Vec<String> {
    let ours = after.iter().map(Item::to_string).filter(|item| item.contains("podlocal-dns"));
    let new = after.difference(before).map(Item::to_string);
    new.chain(ours).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Fails unless a new pod's sidecar knows the tier, and its lookups reach the tier. Returns the pod.
async fn assert_tier_answers(context: &Context, workload: &str, service: &str) -> Result<String, Failure> {
    let cluster = &context.cluster;
    let tier = product::namespace(cluster);
    tier.wait_for_rollout(&format!("{workload}/{service}")).await?;
    let address = tier.get("v1", "Service", service).await?["spec"]["clusterIP"].clone();
    let address = address.as_str().unwrap_or_default();
    eventually("new pods with the shared tier", async || {
        Ok((tier_of(&dry_run(cluster).await?) == Some(address)).then_some(()))
    })
    .await?;
    let pod = context.namespace.run(pod(workload, Libc::Glibc, &SLEEP)).await?;
    assert_eq!(tier_of(&context.namespace.pod(&pod).await?), Some(address));
    assert_resolves(&context.namespace, &pod, &["www.example.net", "kubernetes.default"]).await?;
    // kube-proxy learns of the tier's pods a moment after they are ready; until then only cluster DNS
    // answers.
    let before = queries(&tier, service).await?;
    let mut uncached = (0..).map(|number| format!("not-cached-{number}.example.net"));
    eventually("a query of the new pod reaches the tier", async || {
        let name = uncached.next().unwrap_or_default();
        context.namespace.look_up(&pod, &[&name]).await?;
        Ok((queries(&tier, service).await? > before).then_some(()))
    })
    .await?;
    Ok(pod)
}

async fn queries(tier: &Namespace, service: &str) -> Result<u64, Failure> {
    let pods = format!("app.kubernetes.io/name={service}");
    tier.sum_of_pods(&pods, SIDECAR_PORT, "podlocal_dns_queries_total", &[]).await
}

async fn assert_resolves(namespace: &Namespace, pod: &str, names: &[&str]) -> Result<(), Failure> {
    let lookups = namespace.look_up(pod, names).await?;
    assert!(!lookups.iter().any(Lookup::is_failure), "{pod}: {lookups:?}");
    Ok(())
}
