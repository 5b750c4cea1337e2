//! Installs and removes the product as an operator does (`kubectl apply -k`), and reads what the webhook
//! injected into a pod.

use kube::Api;
use kube::api::DynamicObject;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_ENABLED, INJECT_LABEL};
use podlocal_settings::table::SHARED_TIER as TIER;
use serde_json::{Value, json};

use super::client::unscheduled_pod;
use super::namespace::Namespace;
use super::{Cluster, eventually, kubectl};
use crate::failure::{Failure, WithContext};

/// The namespace of the product.
pub const NAMESPACE: &str = "podlocal-dns";

/// The name of the webhook's objects.
pub const WEBHOOK: &str = "podlocal-dns-webhook";

/// The folder of the base installation in the repository.
pub const BASE: &str = "manifests/base";

/// The folder of the shared tier, a part of [`BASE`].
pub const SHARED_TIER: &str = "manifests/base/shared-tier";

/// The number of reviews in a row that reach every replica of the webhook.
const REVIEWS: usize = 6;

/// Whether there is a webhook in the cluster.
pub async fn is_installed(cluster: &Cluster) -> Result<bool, Failure> {
    let webhook = configurations(cluster).get_opt(WEBHOOK).await;
    Ok(webhook.with_context("looking for the webhook")?.is_some())
}

/// Installs [`BASE`], and waits until the webhook injects and the shared tier answers.
pub async fn install(cluster: &Cluster) -> Result<(), Failure> {
    apply(BASE).await?;
    wait_for_webhook_rollout(cluster).await?;
    wait_for_shared_tier_rollout(cluster).await?;
    wait_until_webhook_injects(cluster).await
}

/// Installs [`SHARED_TIER`], and waits until every replica of it is ready.
pub async fn install_shared_tier(cluster: &Cluster) -> Result<(), Failure> {
    apply(SHARED_TIER).await?;
    wait_for_shared_tier_rollout(cluster).await
}

async fn wait_for_shared_tier_rollout(cluster: &Cluster) -> Result<(), Failure> {
    namespace(cluster).wait_for_rollout("deployment/podlocal-dns-shared").await
}

/// Installs the objects of a folder.
pub async fn apply(folder: &str) -> Result<(), Failure> {
    kubectl(&["apply", "-k", folder]).await.map(drop)
}

/// Deletes the objects of a folder, and waits until they are gone.
pub async fn remove(folder: &str) -> Result<(), Failure> {
    kubectl(&["delete", "-k", folder, "--ignore-not-found", "--wait=true"]).await.map(drop)
}

/// The namespace of the product.
pub fn namespace(cluster: &Cluster) -> Namespace {
    Namespace { cluster: cluster.clone(), name: NAMESPACE.to_owned() }
}

/// The webhook configurations of the cluster.
pub fn configurations(cluster: &Cluster) -> Api<DynamicObject> {
    cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None)
}

/// Waits until the rollout of the webhook's Deployment is complete.
pub async fn wait_for_webhook_rollout(cluster: &Cluster) -> Result<(), Failure> {
    namespace(cluster).wait_for_rollout(&format!("deployment/{WEBHOOK}")).await
}

/// Waits until the webhook injects every pod; tested with dry runs.
pub async fn wait_until_webhook_injects(cluster: &Cluster) -> Result<(), Failure> {
    eventually("the webhook injects every pod", async || {
        for _ in 0..REVIEWS {
            if sidecar(&dry_run(cluster).await?).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// A dry run: a pod of the namespace `default` with the opt-in label, as the API server would store it.
pub async fn dry_run(cluster: &Cluster) -> Result<Value, Failure> {
    let namespace = Namespace { cluster: cluster.clone(), name: "default".to_owned() };
    let mut pod = unscheduled_pod();
    pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_ENABLED });
    Ok(namespace.apply_with(pod, "dryRun=All").await?.object)
}

/// The sidecar container that the webhook has injected into a pod.
pub fn sidecar(pod: &Value) -> Option<&Value> {
    let containers = pod["spec"]["initContainers"].as_array()?;
    containers.iter().find(|container| container["name"] == CONTAINER_NAME)
}

/// The address of the shared tier in the settings of a pod's sidecar.
pub fn tier_of(pod: &Value) -> Option<&str> {
    variable(sidecar(pod)?, &TIER.variable())
}

/// A variable of a container's environment.
pub fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}
