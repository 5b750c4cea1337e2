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
use serde_json::{Value, json};

use podlocal_harness::failure::Failure;

/// The usual cluster domain.
pub(super) const ZONE: &str = "cluster.local";

const NAME: &str = "node-local-dns";

/// Starts it on every node, and returns the nameserver address for pods.
pub(super) async fn start(namespace: &Namespace, coredns: &CoreDns) -> Result<String, Failure> {
    namespace.apply(config(&coredns.address)).await?;
    namespace.apply(daemon_set(&coredns.image)).await?;
    let service = namespace.apply(service()).await?.object;
    namespace.wait_for_rollout(&format!("daemonset/{NAME}")).await?;
    Ok(service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned())
}

/// The cluster zone's block of nodelocaldns.yaml, for every zone, with `bind` to the pod's address in place
/// of the node's.
fn config(cluster_dns: &str) -> Value {
    let corefile = format!(
        ".:53 {{
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    reload
    loop
    bind {{$POD_IP}}
    forward . {cluster_dns} {{
        force_tcp
    }}
    prometheus :9253
    health :8080
}}
"
    );
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": NAME }, "data": { "Corefile": corefile } })
}

fn daemon_set((image, pull_policy): &(String, String)) -> Value {
    let probe = json!({ "httpGet": { "path": "/health", "port": 8080 }, "periodSeconds": 1 });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": NAME },
        "spec": {
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": { "app": NAME } },
                "spec": {
                    "dnsPolicy": "Default",
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": NAME,
                        "image": image,
                        "imagePullPolicy": pull_policy,
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                        "readinessProbe": probe,
                        "securityContext": { "runAsUser": 0 },
                        "volumeMounts": [{ "name": "config", "mountPath": "/etc/coredns" }],
                    }],
                    "volumes": [{ "name": "config", "configMap": { "name": NAME } }],
                },
            },
        },
    })
}

fn service() -> Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "port": 53, "protocol": protocol });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": NAME },
        "spec": {
            "selector": { "app": NAME },
            "internalTrafficPolicy": "Local",
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
        },
    })
}
