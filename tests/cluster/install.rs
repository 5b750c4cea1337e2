//! Installing, upgrading and removing the product as an operator does: docs/install.md, docs/upgrade.md.

mod cert_manager;
mod definitions;
mod overlays;
mod upgrade;

use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, eventually, kubectl, product};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};

use crate::creations::unscheduled_pod;
use crate::runner::Test;

/// The webhook's objects have this name.
pub(crate) const WEBHOOK: &str = "podlocal-dns-webhook";

/// So many reviews in a row reach every replica of the webhook.
const REVIEWS: usize = 6;

pub(crate) fn tests() -> Vec<Test> {
    [overlays::tests(), upgrade::tests()].into_iter().flatten().collect()
}

/// Installs `manifests/base` where it is not, and waits until the webhook injects.
pub(crate) async fn ensure_base(cluster: &Cluster) -> Result<(), Failure> {
    product::install(cluster).await?;
    webhook_injects(cluster).await
}

/// Waits until every replica of the webhook runs as its Deployment says.
pub(crate) async fn webhook_is_rolled_out() -> Result<(), Failure> {
    let deployment = format!("deployment/{WEBHOOK}");
    kubectl(&["-n", product::NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"]).await.map(drop)
}

/// Waits until the webhook injects every pod, as dry runs show.
pub(crate) async fn webhook_injects(cluster: &Cluster) -> Result<(), Failure> {
    eventually("the webhook injects every pod", async || {
        for _ in 0..REVIEWS {
            if product::sidecar(&dry_run(cluster).await?).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// A pod of the namespace `default` that opts in itself, as the API server would store it.
pub(crate) async fn dry_run(cluster: &Cluster) -> Result<Value, Failure> {
    let namespace = Namespace { cluster: cluster.clone(), name: "default".to_owned() };
    let mut pod = unscheduled_pod();
    pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_ENABLED });
    Ok(namespace.apply_with(pod, "dryRun=All").await?.object)
}
