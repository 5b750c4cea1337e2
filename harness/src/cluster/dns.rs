//! A separate CoreDNS for one test, which the test may break while other tests use cluster DNS.
//!
//! It is a copy of cluster DNS: the Deployment and the ConfigMap `coredns` and the Service `kube-dns` of
//! `kube-system`, as kubeadm names them. A pod uses it when the annotation `podlocal-dns.io/upstream` has its
//! address.

use std::fmt::Write as _;

use podlocal_settings::names::{INJECT_DISABLED, INJECT_LABEL};
use serde_json::{Value, json};

use super::coredns::METRICS;
use super::namespace::{Namespace, TEST_LABEL};
use super::{eventually, kubectl, name_of, object};
use crate::failure::Failure;

const NAME: &str = "coredns";

/// The label of its pods.
const LABEL: &str = "k8s-app=kube-dns";

/// A separate CoreDNS in the namespace of a test.
#[derive(Clone)]
pub struct OwnDns {
    namespace: Namespace,
    /// The address of its Service.
    pub address: String,
    corefile: String,
}

/// A zone in which every name has the same addresses.
#[derive(Debug, Clone, Copy)]
pub struct Zone<'a> {
    /// Its name, without the final dot.
    pub name: &'a str,
    /// The TTL of its answers, in seconds.
    pub ttl: u32,
    /// At least one IPv4 address.
    pub addresses: &'a [&'a str],
}

impl OwnDns {
    /// Copies the cluster's CoreDNS into a namespace, one replica that serves this zone as well, and waits
    /// until it answers.
    pub async fn start(namespace: &Namespace, zone: Zone<'_>) -> Result<Self, Failure> {
        let cluster = &namespace.cluster;
        let read = async |api_version: &str, kind: &str, name: &str| {
            cluster.get(&cluster.api(api_version, kind, Some("kube-system")), name).await
        };
        let config = read("v1", "ConfigMap", NAME).await?;
        let corefile = config["data"]["Corefile"].as_str().unwrap_or_default().to_owned();
        let deployment = read("apps/v1", "Deployment", NAME).await?;
        let service = read("v1", "Service", "kube-dns").await?;

        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        namespace.apply(account).await?;
        namespace.apply_to_cluster(role_binding(namespace)).await?;
        let data = json!({ "Corefile": corefile_with(&corefile, zone) });
        let config =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": NAME }, "data": data });
        namespace.apply(config).await?;
        namespace.apply(deployment_like(&deployment)).await?;
        let spec = json!({ "selector": service["spec"]["selector"], "ports": service["spec"]["ports"] });
        let service = namespace.apply(object("v1", "Service", NAME, &spec)).await?.object;
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        let dns = Self { namespace: namespace.clone(), address, corefile };
        dns.is_ready().await?;
        Ok(dns)
    }

    /// Stops it immediately, without graceful shutdown, and starts no replacement.
    pub async fn stop(&self) -> Result<(), Failure> {
        self.scale(0).await?;
        let pods = self.pods().await?;
        let delete = ["-n", &self.namespace.name, "delete", "pod", "--grace-period=0", "--force"];
        for pod in &pods {
            kubectl(&[&delete[..], &["--ignore-not-found", name_of(pod)]].concat()).await?;
        }
        Ok(())
    }

    /// Starts the stopped server with this zone, and waits until it answers.
    pub async fn start_stopped(&self, zone: Zone<'_>) -> Result<(), Failure> {
        let data = json!({ "data": { "Corefile": corefile_with(&self.corefile, zone) } });
        self.namespace.patch("v1", "ConfigMap", NAME, &data).await?;
        self.scale(1).await?;
        self.is_ready().await
    }

    /// Replaces its pod, as `kubectl rollout restart` does, and waits until the new one answers.
    pub async fn restart(&self) -> Result<(), Failure> {
        kubectl(&["-n", &self.namespace.name, "rollout", "restart", &format!("deployment/{NAME}")]).await?;
        self.is_ready().await
    }

    /// Limits the CPU of the running pod (for example to `10m`) without a restart.
    pub async fn limit_cpu(&self, limit: &str) -> Result<(), Failure> {
        for pod in self.pods().await? {
            self.namespace.limit_cpu(name_of(&pod), NAME, "1m", limit).await?;
        }
        Ok(())
    }

    /// The number of A queries that it has answered since its start. `zone` selects the queries: the name of
    /// its [`Zone`], or `.` for all other names.
    pub async fn queries(&self, zone: &str) -> Result<u64, Failure> {
        let zone = format!("{}.", zone.trim_end_matches('.'));
        let labels = [("server", "dns://:53"), ("type", "A"), ("zone", zone.as_str())];
        self.namespace.sum_of_pods(LABEL, METRICS, "coredns_dns_requests_total", &labels).await
    }

    /// The number of A and AAAA queries for all names that it has answered since its start.
    pub async fn address_queries(&self) -> Result<u64, Failure> {
        let of = async |rtype| {
            let labels = [("server", "dns://:53"), ("type", rtype)];
            self.namespace.sum_of_pods(LABEL, METRICS, "coredns_dns_requests_total", &labels).await
        };
        Ok(of("A").await? + of("AAAA").await?)
    }

    /// How often its container was restarted.
    pub async fn restarts(&self) -> Result<u64, Failure> {
        Ok(self.pods().await?.iter().map(|pod| super::pods::restarts(pod, NAME)).sum())
    }

    async fn pods(&self) -> Result<Vec<Value>, Failure> {
        self.namespace.pods(LABEL).await
    }

    async fn scale(&self, replicas: u32) -> Result<(), Failure> {
        self.namespace
            .patch("apps/v1", "Deployment", NAME, &json!({ "spec": { "replicas": replicas } }))
            .await
    }

    async fn is_ready(&self) -> Result<(), Failure> {
        self.namespace.wait_for_rollout(&format!("deployment/{NAME}")).await?;
        // The address of the Service leads to a pod only when the pod is an endpoint.
        let Namespace { cluster, name } = &self.namespace;
        let api = cluster.api("discovery.k8s.io/v1", "EndpointSlice", Some(name));
        eventually("an endpoint of the CoreDNS of the test", async || {
            let slices = cluster.list(&api, &format!("kubernetes.io/service-name={NAME}")).await?;
            let mut endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
            Ok(endpoints.any(|endpoint| endpoint["conditions"]["ready"] == true).then_some(()))
        })
        .await
    }
}

/// The role binding that lets it watch Services and pods.
fn role_binding(namespace: &Namespace) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": namespace.name, "labels": { TEST_LABEL: "true" } },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns" },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace.name }],
    })
}

fn deployment_like(deployment: &Value) -> Value {
    let mut spec = deployment["spec"].clone();
    spec["replicas"] = json!(1);
    spec["template"]["metadata"]["labels"][INJECT_LABEL] = json!(INJECT_DISABLED);
    if let Some(pod) = spec["template"]["spec"].as_object_mut() {
        // Some clusters allow this priority class in kube-system only.
        pod.remove("priorityClassName");
    }
    object("apps/v1", "Deployment", NAME, &spec)
}

fn corefile_with(corefile: &str, zone: Zone<'_>) -> String {
    let Zone { name, ttl, addresses } = zone;
    let mut block = format!("\n{name}:53 {{\n    prometheus :{METRICS}\n    template IN A {{\n");
    for address in addresses {
        // A write to a `String` does not fail.
        let _ = writeln!(block, "        answer \"{{{{ .Name }}}} {ttl} IN A {address}\"");
    }
    block += "    }\n    template IN AAAA {\n";
    block += &format!(
        "        rcode NOERROR\n        authority \"{name}. {ttl} IN SOA {name}. {name}. 1 60 60 60 {ttl}\"\n"
    );
    block += "    }\n}\n";
    format!("{corefile}{block}")
}
