//! NodeLocal DNSCache: CoreDNS on each node, with the Corefile of kubernetes/cluster/addons/dns/nodelocaldns.
//!
//! | | original | here |
//! |---|---|---|
//! | the program | CoreDNS with few plugins | the cluster's own CoreDNS image |
//! | how pods reach it | a link-local address of the node, without connection tracking | a Service that stays on the node (`internalTrafficPolicy: Local`), with connection tracking |
//! | the cluster's zones | forwarded to cluster DNS over TCP | the same |
//! | other zones | forwarded to the nameservers of the node's resolv.conf | like the cluster domain, because a test cluster has no other server for them, and to count every query |

use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::namespace::Namespace;
use serde_json::Value;

use podlocal_harness::failure::{Failure, WithContext as _};

/// The usual cluster domain.
pub(super) const ZONE: &str = "cluster.local";

/// The objects; pods use the address of the Service.
const MANIFESTS: &str = include_str!("node-local-dns.yaml");

/// Starts it on every node, and returns the nameserver address for pods.
pub(super) async fn start(namespace: &Namespace, coredns: &CoreDns) -> Result<String, Failure> {
    let (image, pull_policy) = &coredns.image;
    let manifests = MANIFESTS.replace("CLUSTER_DNS", &coredns.address).replace("IMAGE", image);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests.replace("PULL_POLICY", pull_policy))
        .with_context("reading the manifests of NodeLocal DNSCache")?;
    let mut address = None;
    for object in objects {
        let created = namespace.apply(object).await?.object;
        address = created["spec"]["clusterIP"].as_str().map(str::to_owned).or(address);
    }
    namespace.wait_for_rollout("daemonset/node-local-dns").await?;
    address.with_context("NodeLocal DNSCache has no Service")
}
