//! A model of a cluster for one test, or for one arm of an experiment: a separate cluster DNS, optionally the
//! webhook, and pods.
//!
//! With it, `cargo test` and `gang` run without root and without a cluster. The model does not have
//! controllers, a scheduler, more than one node, or Services whose address is translated. `tests/cluster`
//! tests the product in a real cluster, and `tests/cluster/models.rs` compares both.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use podlocal_settings::table::CLUSTER_DOMAIN;
use serde_json::Value;

use crate::cluster::product::tier_of;
use crate::failure::Failure;
use crate::loopback::proxy::Proxy;
use crate::loopback::tier::tier;
use crate::model::admission::{Webhook, defaulted, named};
use crate::model::cluster_dns::{ClusterDns, World};
use crate::model::node::Node;
use crate::model::pod::{ClusterNames, PodSpec, Running};
use crate::programs::Programs;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The port of the webhook in the manifests.
const WEBHOOK_PORT: u16 = 8443;

/// The way of a query from a pod to cluster DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsPath {
    /// The pod sends queries to cluster DNS itself.
    Direct,
    /// The webhook, and a sidecar in each pod.
    Sidecars,
    /// The same, and a shared tier that all sidecars ask first.
    SidecarsAndTier,
}

/// A cluster on a node. Several clusters can share a node: each has separate addresses, so that queries in
/// one are not counted in another.
pub struct Cluster {
    /// Cluster DNS: the queries that it received, and its faults.
    pub dns: ClusterDns,
    names: ClusterNames,
    programs: Programs,
    webhook: Option<Webhook>,
    shared_tier: Option<Proxy>,
    node: Node,
    pods: AtomicU32,
}

impl Cluster {
    /// A cluster with this way to cluster DNS.
    pub async fn start(
        dns_path: DnsPath,
        node: &Node,
        programs: &Programs,
        world: World,
    ) -> Result<Self, Failure> {
        let place = node.next_cluster()?;
        let (dns, zone, node_searches) = (place.dns.into(), world.zone_name(), node.searches.clone());
        let names = ClusterNames { dns, zone, node_searches };
        let world = world.dns_address(names.dns);
        let dns = ClusterDns::start(world, SocketAddr::from((place.dns, DNS_PORT))).await?;
        let mut shared_tier = None;
        if dns_path == DnsPath::SidecarsAndTier {
            let address = SocketAddr::from((place.shared_tier, DNS_PORT));
            let domain = format!("{}={}", CLUSTER_DOMAIN.flag(), names.zone);
            shared_tier = Some(tier(&programs.sidecar, address, dns.address(), &[&domain], None).await?);
        }
        let mut webhook = None;
        if dns_path != DnsPath::Direct {
            let listen = SocketAddr::from((place.webhook, WEBHOOK_PORT));
            let tier = shared_tier.as_ref().map(|tier| tier.dns.ip());
            let started = Webhook::start(&programs.webhook, listen, &names, tier, &place.directory);
            webhook = Some(started.await?);
        }
        let (programs, node) = (programs.clone(), node.clone());
        Ok(Self { dns, names, programs, webhook, shared_tier, node, pods: AtomicU32::new(0) })
    }

    /// Admits a new pod as the API server does: defaults, the webhook's patch, a generated name. Fails when
    /// the pod's sidecar does not know the shared tier of the cluster.
    pub async fn admit(&self, pod: Value, namespace: &str) -> Result<PodSpec, Failure> {
        let (mut pod, mut warnings) = (defaulted(pod), Vec::new());
        if let Some(webhook) = &self.webhook {
            (pod, warnings) = webhook.client.admit(&pod, namespace).await?;
        }
        if let Some(tier) = &self.shared_tier
            && tier_of(&pod) != Some(&tier.dns.ip().to_string())
        {
            return Err(Failure::new("the webhook has not configured the shared tier in the pod's sidecar"));
        }
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        Ok(PodSpec {
            pod: named(pod, namespace, number),
            warnings,
            namespace: namespace.to_owned(),
            cluster: self.names.clone(),
            environment: BTreeMap::new(),
        })
    }

    /// Runs a pod.
    pub fn run(&self, spec: PodSpec) -> Result<Running, Failure> {
        self.node.run(spec, &self.programs)
    }

    /// Admits a pod and runs it.
    pub async fn create(&self, pod: Value, namespace: &str) -> Result<Running, Failure> {
        self.run(self.admit(pod, namespace).await?)
    }

    /// The webhook, if the cluster has one.
    pub fn webhook(&self) -> Option<&Webhook> {
        self.webhook.as_ref()
    }
}
