//! A namespace of its own for each test, with everything that a test does to the objects in it.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Cluster, Created, eventually, kubectl, name_of};
use crate::failure::{Failure, Tried};

/// The label of every namespace that tests create; a namespace that a failed test left behind is found by it.
pub const TEST_LABEL: &str = "podlocal-dns.io/test";

/// A namespace.
#[derive(Clone)]
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name, which the API server made of the test's.
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
        // Kubernetes adds five characters to generateName, and 63 are allowed.
        let prefix: String = prefix.replace('_', "-").chars().take(50).collect();
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "generateName": format!("{prefix}-"), "labels": labels, "annotations": annotations },
        });
        let created = cluster.create(&namespace, "").await?;
        let namespace = Self { cluster: cluster.clone(), name: name_of(&created.object).to_owned() };
        // Pods are refused until the controller has made it.
        eventually("the default service account", async || {
            let api = cluster.api("v1", "ServiceAccount", Some(&namespace.name));
            api.get_opt("default").await.tried(|| "reading the service account".to_owned())
        })
        .await?;
        Ok(namespace)
    }

    /// Creates an object in this namespace.
    pub async fn apply(&self, object: Value) -> Result<Created, Failure> {
        self.apply_with(object, "").await
    }

    /// The same with a query, `dryRun=All`.
    pub async fn apply_with(&self, mut object: Value, query: &str) -> Result<Created, Failure> {
        object["metadata"]["namespace"] = json!(self.name);
        self.cluster.create(&object, query).await
    }

    /// Creates an object of the whole cluster, which Kubernetes deletes with this namespace.
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

    /// Waits until every replica of a Deployment, StatefulSet or DaemonSet is ready: `deployment/web`.
    pub async fn rolled_out(&self, workload: &str) -> Result<(), Failure> {
        kubectl(&["--namespace", &self.name, "rollout", "status", workload, "--timeout=120s"]).await.map(drop)
    }

    /// Deletes the namespace and everything in it, without waiting for the end of that.
    pub async fn delete(&self) -> Result<(), Failure> {
        let api = self.cluster.api("v1", "Namespace", None);
        api.delete(&self.name, &DeleteParams::background())
            .await
            .map(drop)
            .tried(|| format!("deleting namespace {}", self.name))
    }

    /// The same, and waits until nothing of it is left.
    pub async fn delete_and_wait(&self) -> Result<(), Failure> {
        self.delete().await?;
        self.is_gone().await
    }

    /// Waits until nothing of a deleted namespace is left.
    pub async fn is_gone(&self) -> Result<(), Failure> {
        let api = self.cluster.api("v1", "Namespace", None);
        eventually(&format!("namespace {} is gone", self.name), async || {
            let namespace = api.get_opt(&self.name).await.tried(|| "reading the namespace".to_owned())?;
            Ok(namespace.is_none().then_some(()))
        })
        .await
    }

    /// What explains a failure: pods, events, and the last lines of every log.
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
