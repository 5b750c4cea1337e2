//! Installing and removing the product as an operator does: `kubectl apply -k`.

use podlocal_harness::cluster::{Cluster, eventually, kubectl};
use podlocal_harness::failure::{Failure, Tried as _};

use crate::runner::{Context, Test, exclusive};

/// The namespace of the product.
pub(crate) const NAMESPACE: &str = "podlocal-dns";

const BASE: &str = "manifests/base";

pub(crate) fn tests() -> Vec<Test> {
    exclusive![base_is_removed_without_a_trace_and_installs_again]
}

/// Installs `manifests/base` where it is not, and waits until the webhook answers reviews.
pub(crate) async fn ensure_base(cluster: &Cluster) -> Result<(), Failure> {
    kubectl(&["apply", "-k", BASE]).await?;
    webhook_is_ready(cluster).await
}

/// Waits until every replica of the webhook is ready and the API server trusts its certificate.
pub(crate) async fn webhook_is_ready(cluster: &Cluster) -> Result<(), Failure> {
    let deployment = "deployment/podlocal-dns-webhook";
    kubectl(&["-n", NAMESPACE, "rollout", "status", deployment, "--timeout=120s"]).await?;
    let configurations = cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None);
    eventually("the webhook writes its CA into the webhook configuration", async || {
        let configuration = cluster.get(&configurations, "podlocal-dns-webhook").await?;
        Ok(configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(drop))
    })
    .await
}

async fn base_is_removed_without_a_trace_and_installs_again(context: Context) -> Result<(), Failure> {
    let cluster = &context.cluster;
    kubectl(&["delete", "-k", BASE, "--wait=true"]).await?;
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let api = cluster.api("rbac.authorization.k8s.io/v1", kind, None);
        let left = api.get_opt("podlocal-dns-webhook").await.tried(|| format!("reading the {kind}"))?;
        assert!(left.is_none(), "{kind} podlocal-dns-webhook is still there");
    }
    ensure_base(cluster).await
}
