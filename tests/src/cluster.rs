//! The home-made cluster for one test, or for one arm of an experiment: a cluster DNS of its own, the webhook if it is
//! wanted, and pods.
//!
//! It exists so that `cargo test` and `gang` run without root and without a cluster. Left out is whatever keeps a cluster as it
//! should be: controllers, a scheduler, more than one node, Services whose address leads elsewhere. `tests/cluster` tests the
//! product in a real one, and `tests/cluster/models.rs` compares both.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::admission::{Admitted, Webhook, defaulted, named};
use crate::cluster_dns::{ClusterDns, World};
use crate::cluster_tier::ClusterTier;
use crate::failure::Failure;
use crate::node::Node;
use crate::pod::{ClusterNames, PodSpec, Running};
use crate::programs::Programs;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// What stands between the pods and the cluster DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// The webhook, and a sidecar in each pod.
    Sidecars,
    /// The same, and one cache that all sidecars ask first.
    SidecarsAndTier,
}

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
    shared_tier: Option<ClusterTier>,
    node: Node,
    pods: AtomicU32,
}

impl Cluster {
    /// A cluster without the webhook.
    pub async fn start(node: &Node, programs: &Programs, world: World) -> Result<Self, Failure> {
        Self::start_with(Between::Nothing, node, programs, world).await
    }

    /// A cluster with the real webhook.
    pub async fn start_with_webhook(node: &Node, programs: &Programs, world: World) -> Result<Self, Failure> {
        Self::start_with(Between::Sidecars, node, programs, world).await
    }

    /// A cluster with what stands between.
    pub async fn start_with(
        between: Between,
        node: &Node,
        programs: &Programs,
        world: World,
    ) -> Result<Self, Failure> {
        let place = node.next_cluster()?;
        let names =
            ClusterNames { dns: place.dns.into(), zone: world.zone_name(), node_searches: Vec::new() };
        let world = world.dns_address(names.dns);
        let dns = ClusterDns::start(world, SocketAddr::from((place.dns, DNS_PORT))).await?;
        let (mut webhook, mut shared_tier) = (None, None);
        match between {
            Between::Nothing => {}
            Between::Sidecars | Between::SidecarsAndTier => {
                if between == Between::SidecarsAndTier {
                    let address = place.shared_tier;
                    let started = ClusterTier::start(&programs.sidecar, address, &names, &place.directory);
                    shared_tier = Some(started.await?);
                }
                let tier = shared_tier.as_ref().map(ClusterTier::address);
                let (address, directory) = (place.webhook, &place.directory);
                let started = Webhook::start(&programs.webhook, address, &names, tier, directory);
                webhook = Some(started.await?);
            }
        }
        let (programs, node) = (programs.clone(), node.clone());
        let pods = AtomicU32::new(0);
        Ok(Self { dns, names, programs, webhook, shared_tier, node, pods })
    }

    /// What the API server makes of a new pod: defaults, the webhook's patch, a name.
    pub async fn admit(&self, pod: Value, namespace: &str) -> Result<Admitted, Failure> {
        let pod = defaulted(pod);
        let mut admitted = match &self.webhook {
            Some(webhook) => webhook.client.admit(&pod, namespace).await?,
            None => Admitted { pod, warnings: Vec::new() },
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

    /// The cache that all sidecars ask first, where there is one.
    pub fn shared_tier(&self) -> Option<&ClusterTier> {
        self.shared_tier.as_ref()
    }
}
