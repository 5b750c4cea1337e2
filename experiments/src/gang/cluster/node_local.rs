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

/// The objects; the Service is the last one.
const MANIFESTS: &str = include_str!("node-local-dns.yaml");

/// Starts it on every node, and returns the nameserver address for pods.
pub(super) async fn start(namespace: &Namespace, coredns: &CoreDns) -> Result<String, Failure> {
    let mut address = Value::Null;
    let (image, pull_policy) = &coredns.image;
    for object in objects(&coredns.address, image, pull_policy)? {
        address = namespace.apply(object).await?.object["spec"]["clusterIP"].take();
    }
    namespace.wait_for_rollout("daemonset/node-local-dns").await?;
    Ok(address.as_str().unwrap_or_default().to_owned())
}

fn objects(cluster_dns: &str, image: &str, pull_policy: &str) -> Result<Vec<Value>, Failure> {
    let manifests = MANIFESTS.replace("CLUSTER_DNS", cluster_dns).replace("IMAGE", image);
    serde_saphyr::from_multiple(&manifests.replace("PULL_POLICY", pull_policy))
        .with_context(|| "reading the manifests of NodeLocal DNSCache".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_the_last_object() {
        let objects = objects("10.96.0.10", "coredns:1", "Never").unwrap();
        assert_eq!(
            objects.iter().map(|object| &object["kind"]).collect::<Vec<_>>(),
            ["ConfigMap", "DaemonSet", "Service"]
        );
        let corefile = objects.iter().find_map(|object| object["data"]["Corefile"].as_str()).unwrap();
        assert!(corefile.contains("forward . 10.96.0.10 {"), "{corefile}");
    }
}
