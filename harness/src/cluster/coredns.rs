//! The CoreDNS of cluster DNS: its CPU limit, its restarts, and the queries that it has received.
//!
//! The original state is saved in an annotation of its Deployment, so that [`CoreDns::restore`] finds it even
//! when the process that changed it was killed.

use serde_json::{Value, json};

use super::namespace::Namespace;
use super::pods::restarts;
use super::{Cluster, eventually, kubectl, name_of};
use crate::failure::{Failure, WithContext};
use crate::time::since_1970;

/// The namespace of cluster DNS.
pub const NAMESPACE: &str = "kube-system";

/// The label of the Deployment, its pods and its Service, whatever DNS server the cluster uses.
const LABEL: &str = "k8s-app=kube-dns";

const CONTAINER: &str = "coredns";

/// The port of its metrics in the Corefile of every distribution.
pub(super) const METRICS: u16 = 9153;

/// The annotation that holds `replicas` and `containers` as they were before the first change.
const SAVED: &str = "podlocal-dns.io/before-experiment";

/// The annotation of the pod template whose change replaces the pods.
const RESTARTED: &str = "podlocal-dns.io/restarted-at";

/// The Deployment of CoreDNS.
#[derive(Clone)]
pub struct CoreDns {
    cluster: Cluster,
    /// Its name.
    pub deployment: String,
    /// The address of its Service, which is the nameserver of pods.
    pub address: String,
    /// Its image, and the `imagePullPolicy`.
    pub image: (String, String),
}

impl CoreDns {
    /// Finds the Deployment by its label.
    pub async fn find(cluster: &Cluster) -> Result<Self, Failure> {
        let finding = || format!("looking for cluster DNS in {NAMESPACE}");
        let deployments = cluster.api("apps/v1", "Deployment", Some(NAMESPACE));
        let deployments = cluster.list(&deployments, LABEL).await.with_context(finding)?;
        let [deployment] = &deployments[..] else {
            let found = deployments.len();
            return Err(Failure::new(format!(
                "expected one Deployment with {LABEL} in {NAMESPACE}, found {found}"
            )));
        };
        let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
        let container = containers.into_iter().flatten().find(|container| container["name"] == CONTAINER);
        let Some(container) = container else {
            return Err(Failure::new(format!(
                "deployment {} in {NAMESPACE} has no container {CONTAINER:?}: only CoreDNS is supported",
                name_of(deployment)
            )));
        };
        let services = cluster.api("v1", "Service", Some(NAMESPACE));
        let services = cluster.list(&services, LABEL).await.with_context(finding)?;
        let address = services.iter().find_map(|service| service["spec"]["clusterIP"].as_str());
        let address = address.with_context(|| format!("no Service with {LABEL} in {NAMESPACE}"))?;
        let text = |field: &str| container[field].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            cluster: cluster.clone(),
            deployment: name_of(deployment).to_owned(),
            address: address.to_owned(),
            image: (text("image"), text("imagePullPolicy")),
        })
    }

    /// Restarts it with a cold cache: one replica with this CPU limit (for example `10m`), or with none.
    /// Waits until it is ready.
    ///
    /// The limit is set in place after the start (Kubernetes 1.33), because with 10 millicores the start
    /// would take a minute.
    pub async fn restart(&self, cpu: Option<&str>) -> Result<(), Failure> {
        let deployment = self.read().await?;
        let saved = saved(&deployment).unwrap_or_else(|| original(&deployment));
        let mut containers = saved["containers"].clone();
        for container in containers.as_array_mut().into_iter().flatten() {
            if container["name"] == CONTAINER {
                remove_cpu(container);
            }
        }
        let at = since_1970().as_millis().to_string();
        self.patch(&json!({
            "metadata": { "annotations": { SAVED: saved.to_string() } },
            "spec": { "replicas": 1, "template": {
                "metadata": { "annotations": { RESTARTED: at } },
                "spec": { "containers": containers },
            } },
        }))
        .await?;
        match cpu {
            Some(cpu) => self.limit(cpu).await,
            None => Ok(()),
        }
    }

    /// Restores the replicas and resources from before the first [`Self::restart`], and waits until it is
    /// ready. Does nothing when nothing was changed.
    pub async fn restore(&self) -> Result<(), Failure> {
        let Some(saved) = saved(&self.read().await?) else { return Ok(()) };
        self.patch(&json!({
            "metadata": { "annotations": { SAVED: null } },
            "spec": { "replicas": saved["replicas"], "template": {
                "metadata": { "annotations": { RESTARTED: null } },
                "spec": { "containers": saved["containers"] },
            } },
        }))
        .await
    }

    /// The number of queries that its pods have received from clients since they started. The counter is lost
    /// when the container restarts. CoreDNS counts a query when it has answered it.
    pub async fn queries(&self) -> Result<u64, Failure> {
        // A Corefile may define servers on other ports as well.
        let labels = [("server", "dns://:53")];
        self.namespace().sum_of_pods(LABEL, METRICS, "coredns_dns_requests_total", &labels).await
    }

    /// How often the kubelet has restarted its containers since [`Self::restart`].
    pub async fn restarts(&self) -> Result<u64, Failure> {
        Ok(self.pods().await?.iter().map(|pod| restarts(pod, CONTAINER)).sum())
    }

    /// Its pods, without those that are being deleted.
    pub async fn pods(&self) -> Result<Vec<Value>, Failure> {
        let mut pods = self.cluster.list(&self.cluster.api("v1", "Pod", Some(NAMESPACE)), LABEL).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    fn namespace(&self) -> Namespace {
        Namespace { cluster: self.cluster.clone(), name: NAMESPACE.to_owned() }
    }

    async fn read(&self) -> Result<Value, Failure> {
        self.cluster.get(&self.cluster.api("apps/v1", "Deployment", Some(NAMESPACE)), &self.deployment).await
    }

    /// Limits the CPU of the existing pods, and waits until the kubelet has applied the limit.
    async fn limit(&self, cpu: &str) -> Result<(), Failure> {
        for pod in self.pods().await? {
            self.namespace().limit_cpu(name_of(&pod), CONTAINER, cpu, cpu).await?;
        }
        Ok(())
    }

    /// Patches the Deployment, and waits until only pods of the new template exist and are ready.
    async fn patch(&self, patch: &Value) -> Result<(), Failure> {
        let deployments = self.cluster.api("apps/v1", "Deployment", Some(NAMESPACE));
        self.cluster.patch(&deployments, &self.deployment, patch).await?;
        let workload = format!("deployment/{}", self.deployment);
        kubectl(&["--namespace", NAMESPACE, "rollout", "status", &workload, "--timeout=300s"]).await?;
        let replicas = self.read().await?["spec"]["replicas"].as_u64().unwrap_or(1);
        eventually("the former pods of CoreDNS are gone", async || {
            Ok((self.pods().await?.len() as u64 == replicas).then_some(()))
        })
        .await
    }
}

/// The value of the annotation [`SAVED`].
fn original(deployment: &Value) -> Value {
    let spec = &deployment["spec"];
    json!({ "replicas": spec["replicas"], "containers": spec["template"]["spec"]["containers"] })
}

fn saved(deployment: &Value) -> Option<Value> {
    serde_json::from_str(deployment["metadata"]["annotations"][SAVED].as_str()?).ok()
}

/// Removes the CPU limit of a container, and its request, which may exceed the new limit.
fn remove_cpu(container: &mut Value) {
    for part in ["/resources/limits", "/resources/requests"] {
        if let Some(Value::Object(resources)) = container.pointer_mut(part) {
            resources.remove("cpu");
        }
    }
}
