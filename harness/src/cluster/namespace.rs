//! A separate namespace for each test, and the operations of a test on the objects in it.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Cluster, Created, eventually, kubectl, name_of};
use crate::failure::{Failure, WithContext};

/// The label of every namespace that tests create. It finds the namespaces that failed tests left behind.
pub const TEST_LABEL: &str = "podlocal-dns.io/test";

/// A namespace.
#[derive(Clone)]
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name, which the API server generated from the name of the test.
    pub name: String,
}

impl Namespace {
    /// Creates a namespace with these labels and annotations (JSON objects); its name begins with `prefix`.
    pub async fn create(
        cluster: &Cluster,
        prefix: &str,
        labels: Value,
        annotations: &Value,
    ) -> Result<Self, Failure> {
        let mut labels = labels;
        labels[TEST_LABEL] = json!("true");
        // Kubernetes appends five characters to generateName, and allows 63 in all.
        let prefix: String = prefix.replace('_', "-").chars().take(50).collect();
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "generateName": format!("{prefix}-"), "labels": labels, "annotations": annotations },
        });
        let created = cluster.create(&namespace, "").await?;
        let namespace = Self { cluster: cluster.clone(), name: name_of(&created.object).to_owned() };
        // The API server refuses pods until the controller has created it.
        eventually("the default service account", async || {
            let api = cluster.api("v1", "ServiceAccount", Some(&namespace.name));
            api.get_opt("default").await.with_context("reading the service account")
        })
        .await?;
        Ok(namespace)
    }

    /// Creates an object in this namespace.
    pub async fn apply(&self, object: Value) -> Result<Created, Failure> {
        self.apply_with(object, "").await
    }

    /// Creates an object in this namespace, with a query string such as `dryRun=All`.
    pub async fn apply_with(&self, mut object: Value, query: &str) -> Result<Created, Failure> {
        object["metadata"]["namespace"] = json!(self.name);
        self.cluster.create(&object, query).await
    }

    /// Creates a cluster-scoped object, which Kubernetes deletes together with this namespace.
    pub async fn apply_to_cluster(&self, mut object: Value) -> Result<Created, Failure> {
        let namespace = self.cluster.get(&self.cluster.api("v1", "Namespace", None), &self.name).await?;
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Namespace", "name": self.name, "uid": namespace["metadata"]["uid"],
        }]);
        self.cluster.create(&object, "").await
    }

    /// Reads an object of this namespace.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Result<Value, Failure> {
        self.cluster.get(&self.cluster.api(api_version, kind, Some(&self.name)), name).await
    }

    /// Applies a JSON merge patch (RFC 7396) to an object of this namespace.
    pub async fn patch(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> Result<(), Failure> {
        self.cluster.patch(&self.cluster.api(api_version, kind, Some(&self.name)), name, patch).await
    }

    /// Waits until every replica of a Deployment, StatefulSet or DaemonSet is ready. `workload` is for
    /// example `deployment/web`.
    pub async fn wait_for_rollout(&self, workload: &str) -> Result<(), Failure> {
        kubectl(&["--namespace", &self.name, "rollout", "status", workload, "--timeout=120s"]).await.map(drop)
    }

    /// Starts to delete the namespace and everything in it, and does not wait for the end.
    pub async fn delete(&self) -> Result<(), Failure> {
        let api = self.cluster.api("v1", "Namespace", None);
        api.delete(&self.name, &DeleteParams::background())
            .await
            .map(drop)
            .with_context(|| format!("deleting namespace {}", self.name))
    }

    /// Deletes the namespace, and waits until nothing of it is left.
    pub async fn delete_and_wait(&self) -> Result<(), Failure> {
        self.delete().await?;
        self.wait_until_gone().await
    }

    /// Waits until nothing of a deleted namespace is left.
    pub async fn wait_until_gone(&self) -> Result<(), Failure> {
        let api = self.cluster.api("v1", "Namespace", None);
        eventually(&format!("namespace {} is gone", self.name), async || {
            let namespace = api.get_opt(&self.name).await.with_context("reading the namespace")?;
            Ok(namespace.is_none().then_some(()))
        })
        .await
    }

    /// The diagnostics for a failure: pods, events, and the last lines of every log.
    pub async fn describe(&self) -> String {
        let flag = ["--namespace", self.name.as_str()];
        let mut text = String::new();
        for arguments in [
            &["get", "pods", "-o", "wide"][..],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--selector=!none", "--all-containers", "--prefix", "--tail=20"],
        ] {
            let arguments = [&flag, arguments].concat();
            let output = kubectl(&arguments).await.unwrap_or_else(|failure| failure.to_string());
            text += &format!("--- kubectl {}\n{output}\n", arguments.join(" "));
        }
        text
    }
}
