//! Installing and removing the product as an operator does (`kubectl apply -k`), and what the webhook makes of a pod.

use kube::Api;
use kube::api::DynamicObject;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_ENABLED, INJECT_LABEL};
use podlocal_settings::table::SHARED_TIER as TIER;
use serde_json::{Value, json};

use super::client::unscheduled_pod;
use super::namespace::Namespace;
use super::{Cluster, eventually, kubectl};
use crate::failure::{Failure, Tried};

/// The namespace of the product.
pub const NAMESPACE: &str = "podlocal-dns";

/// The webhook's objects have this name.
pub const WEBHOOK: &str = "podlocal-dns-webhook";

/// What is installed first, a folder in the repository.
pub const BASE: &str = "manifests/base";

/// The part of [`BASE`] that is the shared tier.
pub const SHARED_TIER: &str = "manifests/base/shared-tier";

/// So many reviews in a row reach every replica of the webhook.
const REVIEWS: usize = 6;

/// Whether there is a webhook in the cluster.
pub async fn is_installed(cluster: &Cluster) -> Result<bool, Failure> {
    let webhook = configurations(cluster).get_opt(WEBHOOK).await;
    Ok(webhook.tried(|| "looking for the webhook".to_owned())?.is_some())
}

/// Installs [`BASE`] where it is not, and waits until the webhook injects and the shared tier answers.
pub async fn install(cluster: &Cluster) -> Result<(), Failure> {
    apply(BASE).await?;
    webhook_is_rolled_out(cluster).await?;
    shared_tier_is_rolled_out(cluster).await?;
    webhook_injects(cluster).await
}

/// Installs [`SHARED_TIER`] where it was removed, and waits until every replica of it is ready.
pub async fn install_shared_tier(cluster: &Cluster) -> Result<(), Failure> {
    apply(SHARED_TIER).await?;
    shared_tier_is_rolled_out(cluster).await
}

async fn shared_tier_is_rolled_out(cluster: &Cluster) -> Result<(), Failure> {
    namespace(cluster).rolled_out("deployment/podlocal-dns-shared").await
}

/// Installs what is in a folder.
pub async fn apply(folder: &str) -> Result<(), Failure> {
    kubectl(&["apply", "-k", folder]).await.map(drop)
}

/// Removes what a folder has installed, and waits until it is gone.
pub async fn remove(folder: &str) -> Result<(), Failure> {
    kubectl(&["delete", "-k", folder, "--ignore-not-found", "--wait=true"]).await.map(drop)
}

/// The namespace that the product is in.
pub fn namespace(cluster: &Cluster) -> Namespace {
    Namespace { cluster: cluster.clone(), name: NAMESPACE.to_owned() }
}

/// The webhook configurations of the cluster.
pub fn configurations(cluster: &Cluster) -> Api<DynamicObject> {
    cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None)
}

/// Waits until every replica of the webhook runs as its Deployment says.
pub async fn webhook_is_rolled_out(cluster: &Cluster) -> Result<(), Failure> {
    namespace(cluster).rolled_out(&format!("deployment/{WEBHOOK}")).await
}

/// Waits until the webhook injects every pod, as dry runs show.
pub async fn webhook_injects(cluster: &Cluster) -> Result<(), Failure> {
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

/// A pod of the namespace `default` that opts in itself, as the API server would store it.
pub async fn dry_run(cluster: &Cluster) -> Result<Value, Failure> {
    let namespace = Namespace { cluster: cluster.clone(), name: "default".to_owned() };
    let mut pod = unscheduled_pod();
    pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_ENABLED });
    Ok(namespace.apply_with(pod, "dryRun=All").await?.object)
}

/// The sidecar that the webhook has put into a pod.
pub fn sidecar(pod: &Value) -> Option<&Value> {
    let containers = pod["spec"]["initContainers"].as_array()?;
    containers.iter().find(|container| container["name"] == CONTAINER_NAME)
}

/// The shared tier that the sidecar of a pod is told of.
pub fn tier_of(pod: &Value) -> Option<&str> {
    variable(sidecar(pod)?, &TIER.variable())
}

/// A variable of a container's environment.
pub fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}
