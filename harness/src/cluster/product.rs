//! Installing and removing the product as an operator does: `kubectl apply -k`.

use serde_json::Value;

use super::{Cluster, eventually, kubectl};
use crate::failure::{Failure, Tried};

/// The namespace of the product.
pub const NAMESPACE: &str = "podlocal-dns";

/// What is installed first, a folder in the repository.
pub const BASE: &str = "manifests/base";

/// The shared tier, as a Deployment.
pub const SHARED_TIER: &str = "manifests/overlays/shared-deployment";

/// Whether there is a webhook in the cluster.
pub async fn is_installed(cluster: &Cluster) -> Result<bool, Failure> {
    let webhook = configurations(cluster).get_opt("podlocal-dns-webhook").await;
    Ok(webhook.tried(|| "looking for the webhook".to_owned())?.is_some())
}

/// Installs [`BASE`] where it is not, and waits until the webhook answers reviews.
pub async fn install(cluster: &Cluster) -> Result<(), Failure> {
    kubectl(&["apply", "-k", BASE]).await?;
    rolled_out("deployment/podlocal-dns-webhook").await?;
    eventually("the webhook writes its CA into the webhook configuration", async || {
        let configuration = cluster.get(&configurations(cluster), "podlocal-dns-webhook").await?;
        Ok(configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(drop))
    })
    .await
}

/// Installs [`SHARED_TIER`] beside the webhook, and waits until every replica of it is ready.
pub async fn install_shared_tier() -> Result<(), Failure> {
    kubectl(&["apply", "-k", SHARED_TIER]).await?;
    rolled_out("deployment/podlocal-dns-shared").await
}

/// Removes what a folder has installed, and waits until it is gone.
pub async fn remove(folder: &str) -> Result<(), Failure> {
    kubectl(&["delete", "-k", folder, "--ignore-not-found", "--wait=true"]).await.map(drop)
}

async fn rolled_out(workload: &str) -> Result<(), Failure> {
    kubectl(&["--namespace", NAMESPACE, "rollout", "status", workload, "--timeout=120s"]).await.map(drop)
}

fn configurations(cluster: &Cluster) -> kube::Api<kube::api::DynamicObject> {
    cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None)
}

/// The sidecar that the webhook has put into a pod.
pub fn sidecar(pod: &Value) -> Option<&Value> {
    let containers = pod["spec"]["initContainers"].as_array()?;
    containers.iter().find(|container| container["name"] == podlocal_settings::names::CONTAINER_NAME)
}

/// A variable of a container's environment.
pub fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}
