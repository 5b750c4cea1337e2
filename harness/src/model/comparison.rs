//! Runs the same pods on the model of a node and on a real node, and compares the results.
//!
//! `tests/cluster/models.rs` runs a [`Scenario`] on a real cluster, runs it here with the program
//! `model-node`, and compares both [`Outcome`]s of each pod.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use crate::failure::{Failure, WithContext};
use crate::model::cluster::{Cluster, DnsPath};
use crate::model::cluster_dns::{Service, World};
use crate::model::lookup::Lookup;
use crate::model::node::Node;
use crate::model::pod::Running;
use crate::programs::Programs;

/// The placeholder in pods and outcomes for the address of the DNS server that counts queries.
pub const DNS: &str = "192.0.2.53";

/// The placeholder in outcomes for the address of a pod.
pub const POD: &str = "192.0.2.2";

/// The time to wait for queries that follow an answer.
const SETTLE: Duration = Duration::from_millis(300);

/// The pods to run, and their environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scenario {
    /// The namespace of the pods.
    pub namespace: String,
    /// Search domains that the node adds to those of the cluster.
    pub node_searches: Vec<String>,
    /// Services: name, namespace, address.
    pub services: Vec<(String, String, String)>,
    /// Outside names, with one of their addresses.
    pub outside: Vec<(String, IpAddr)>,
    /// The pods, one after the other.
    pub pods: Vec<PodScenario>,
}

/// A pod of a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodScenario {
    /// The manifest of the pod; its container `client` waits for commands.
    pub pod: Value,
    /// The names that `client` looks up.
    pub names: Vec<String>,
}

/// The results of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The pod that the API server stored.
    pub stored: Value,
    /// Admission warnings.
    pub warnings: Vec<String>,
    /// `/etc/resolv.conf`
    pub resolv_conf: String,
    /// `/etc/hosts`
    pub hosts: String,
    /// Each name with its addresses, sorted, or the error.
    pub lookups: Vec<(String, Result<Vec<IpAddr>, String>)>,
    /// A and AAAA queries to cluster DNS during the lookups.
    pub queries: u64,
}

/// The result of a lookup: `error` is empty where there are addresses.
pub fn lookup_result(error: &str, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    addresses.sort();
    addresses.dedup();
    if error.is_empty() { Ok(addresses) } else { Err(error.to_owned()) }
}

/// Runs a scenario on the model of a node.
pub async fn run(scenario: &Scenario, node: &Node, programs: &Programs) -> Result<Vec<Outcome>, Failure> {
    let mut world = World::empty("cluster.local");
    for (name, namespace, address) in &scenario.services {
        world = world.service(Service::cluster_ip(name, namespace, address).port("", "tcp", 80));
    }
    for (name, address) in &scenario.outside {
        world = world.outside(name, 30, *address);
    }
    let mut cluster = Cluster::start(DnsPath::Sidecars, node, programs, world).await?;
    cluster.names.node_searches.clone_from(&scenario.node_searches);
    let mut outcomes = Vec::new();
    for pod in &scenario.pods {
        outcomes.push(run_pod(pod, &scenario.namespace, &cluster).await?);
    }
    Ok(outcomes)
}

async fn run_pod(scenario: &PodScenario, namespace: &str, cluster: &Cluster) -> Result<Outcome, Failure> {
    let dns = cluster.names.dns.to_string();
    let pod = scenario.pod.to_string().replace(DNS, &dns);
    let pod = serde_json::from_str(&pod).with_context(|| format!("reading the pod {pod}"))?;
    let admitted = cluster.admit(pod, namespace).await?;
    let running = cluster.run(cluster.spec(admitted.clone(), namespace))?;
    running.wait_until_started("client").await?;
    let (resolv_conf, hosts) =
        (file(&running, "/etc/resolv.conf").await?, file(&running, "/etc/hosts").await?);
    cluster.dns.reset_counts();
    let mut lookups = Vec::new();
    if !scenario.names.is_empty() {
        let words: Vec<_> = ["lookup"].into_iter().chain(scenario.names.iter().map(String::as_str)).collect();
        let executed = running.execute("client", &words).await?;
        lookups.extend(Lookup::read_all(&executed.stdout).into_iter().map(|lookup| {
            let error = lookup.error.unwrap_or_default();
            let error = error.strip_prefix("failed to lookup address information: ").unwrap_or(&error);
            (lookup.name, lookup_result(error, lookup.addresses))
        }));
    }
    sleep(SETTLE).await;
    let queries = cluster.dns.counts().total();
    let anonymous = |text: String| text.replace(&dns, DNS).replace(&running.address().to_string(), POD);
    let stored = anonymous(admitted.pod.to_string());
    Ok(Outcome {
        stored: serde_json::from_str(&stored).with_context(|| format!("reading the stored pod {stored}"))?,
        warnings: admitted.warnings,
        resolv_conf: anonymous(resolv_conf),
        hosts: anonymous(hosts),
        lookups,
        queries,
    })
}

async fn file(running: &Running, path: &str) -> Result<String, Failure> {
    Ok(running.execute("client", &["cat", path]).await?.stdout)
}
