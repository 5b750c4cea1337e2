//! A cluster for one test, or for one arm of an experiment: a cluster DNS of its own, the webhook if it is
//! wanted, and pods.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::admission::{Admitted, Webhook, defaulted, named};
use crate::cluster_dns::{ClusterDns, World};
use crate::failure::Failure;
use crate::node::Node;
use crate::pod::{ClusterNames, PodSpec, Running};
use crate::programs::Programs;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// A cluster on a node. Several can share a node: each has addresses of its own, so that what one asks is not
/// counted in another.
#[derive(Debug)]
pub struct Cluster {
    /// The cluster DNS: what it was asked, and what goes wrong with it.
    pub dns: ClusterDns,
    /// What the kubelet is told about DNS.
    pub names: ClusterNames,
    /// The programs under test.
    pub programs: Programs,
    webhook: Option<Webhook>,
    node: Node,
    pods: AtomicU32,
}

impl Cluster {
    /// A cluster without the webhook.
    pub async fn start(node: &Node, programs: &Programs, world: World) -> Result<Self, Failure> {
        Self::on_node(node, programs, world, false).await
    }

    /// A cluster with the real webhook.
    pub async fn start_with_webhook(node: &Node, programs: &Programs, world: World) -> Result<Self, Failure> {
        Self::on_node(node, programs, world, true).await
    }

    async fn on_node(node: &Node, programs: &Programs, world: World, webhook: bool) -> Result<Self, Failure> {
        let place = node.next_cluster()?;
        let names =
            ClusterNames { dns: place.dns.into(), zone: world.zone_name(), node_searches: Vec::new() };
        let world = world.dns_address(names.dns);
        let dns = ClusterDns::start(world, SocketAddr::from((place.dns, DNS_PORT))).await?;
        let webhook = if webhook {
            Some(Webhook::start(&programs.webhook, place.webhook, &names, &place.directory).await?)
        } else {
            None
        };
        let (programs, node) = (programs.clone(), node.clone());
        Ok(Self { dns, names, programs, webhook, node, pods: AtomicU32::new(0) })
    }

    /// What the API server makes of a new pod: defaults, the webhook's patch, a name.
    pub async fn admit(&self, pod: Value, namespace: &str) -> Result<Admitted, Failure> {
        let pod = defaulted(pod);
        let mut admitted = match &self.webhook {
            Some(webhook) => webhook.client.admit(&pod, namespace).await?,
            None => Admitted { pod, is_changed: false, warnings: Vec::new() },
        };
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        admitted.pod = named(admitted.pod, namespace, number);
        Ok(admitted)
    }

    /// The pod as it is to be run, after [`Self::admit`].
    pub fn spec(&self, admitted: Admitted, namespace: &str) -> PodSpec {
        PodSpec::new(admitted.pod, namespace, self.names.clone())
    }

    /// Runs a pod.
    pub fn run(&self, spec: PodSpec) -> Result<Running, Failure> {
        self.node.run(spec, &self.programs)
    }

    /// Admits a pod and runs it.
    pub async fn create(&self, pod: Value, namespace: &str) -> Result<Running, Failure> {
        let admitted = self.admit(pod, namespace).await?;
        self.run(self.spec(admitted, namespace))
    }

    /// The client that sends reviews to the webhook, where there is one.
    pub fn webhook(&self) -> Option<&Webhook> {
        self.webhook.as_ref()
    }
}
