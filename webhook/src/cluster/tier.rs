//! Finds the shared tier: a Service with its label in the webhook's own namespace.
//!
//! The existence of the Service decides, not its current endpoints: a pod keeps its settings for its whole
//! life, and its sidecar skips a tier that does not answer. Otherwise a pod that is created while the tier
//! starts would never use it. A pod with a tier that never starts only loses a pause from time to time.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use podlocal_settings::names::{SHARED_TIER, SHARED_TIER_LABEL};
use podlocal_telemetry::Latch;
use tokio::sync::watch;

use crate::metrics::{Metrics, Task};
use crate::review::cluster_state::{Cluster, Tier};

/// The Services with the label of the shared tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The name and the address of the Service that is used.
    pub(crate) used: Option<(String, SocketAddr)>,
    /// The names of the other Services with the label.
    pub(crate) unused: Vec<String>,
}

/// Watches the Services forever, and stores the address in `cluster`. Failures are retried with backoff, and
/// the known address is kept.
///
/// `latch` is dropped after the first list, so that the first pods after a start use the tier, and after the
/// first failure: pods work without a tier, and a missing permission must not stop injection.
pub(crate) async fn watch_services(
    client: kube::Client,
    cluster: Arc<watch::Sender<Cluster>>,
    metrics: Arc<Metrics>,
    latch: Latch,
) {
    let mut latch = Some(latch);
    let mut last = Found::default();
    let (known, writer) = reflector::store::<Service>();
    let selector = format!("{SHARED_TIER_LABEL}={SHARED_TIER}");
    let services = Api::default_namespaced(client);
    let changes =
        watcher(services, watcher::Config::default().labels(&selector)).default_backoff().reflect(writer);
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            // An incomplete list is not used.
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
            Ok(_) => {
                let dns = cluster.borrow().dns.first().map(SocketAddr::ip);
                let found = choose(known.state().iter().map(AsRef::as_ref), dns);
                publish(&last, &found, &cluster);
                last = found;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch the Services of the shared tier; retrying");
                metrics.task_failures.inc(Task::SharedTier);
            }
        }
        drop(latch.take());
    }
}

/// Selects the Service of the tier, and its address.
///
/// | the Service | the result |
/// |---|---|
/// | is being deleted | ignored |
/// | is an `ExternalName`, has no cluster IP, or no port for UDP and TCP alike | unused |
/// | anything else | a tier, at its cluster IP of the address family of `dns`, else at its first one |
///
/// The port is the UDP port named `dns`, else port 53, else the first one. A TCP port with the same number
/// must exist: truncated or unanswered queries are retried over TCP.
///
/// Only one of several tiers is used: first one with `internalTrafficPolicy: Local`, because the pod's own
/// node is nearest; then the first by name.
pub(crate) fn choose<'a>(services: impl Iterator<Item = &'a Service>, dns: Option<IpAddr>) -> Found {
    let mut services: Vec<_> =
        services.filter(|service| service.metadata.deletion_timestamp.is_none()).collect();
    services.sort_by_key(|service| (Reverse(is_local(service)), service.name_any()));
    let is_used = services.iter().position(|service| address(service, dns).is_some());
    let used = is_used.and_then(|index| {
        let service = services.remove(index);
        Some((service.name_any(), address(service, dns)?))
    });
    Found { used, unused: services.into_iter().map(Service::name_any).collect() }
}

fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.internal_traffic_policy.as_deref());
    policy == Some("Local")
}

/// The address of the Service; `None` if it cannot be a tier.
fn address(service: &Service, dns: Option<IpAddr>) -> Option<SocketAddr> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    // A headless Service has the cluster IP `None`.
    let ips = spec.cluster_ips.iter().flatten().filter_map(|text| text.parse::<IpAddr>().ok());
    let mut ips: Vec<_> = ips.collect();
    ips.sort_by_key(|ip| dns.is_some_and(|dns| dns.is_ipv4() != ip.is_ipv4()));

    let by_tcp = |number: i32| {
        let mut ports = spec.ports.iter().flatten();
        ports.any(|port| port.port == number && port.protocol.as_deref() == Some("TCP"))
    };
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter(|port| port.protocol.as_deref() == Some("UDP") && by_tcp(port.port));
    let port = ports.min_by_key(|port| Reverse((port.name.as_deref() == Some("dns"), port.port == 53)))?;
    Some(SocketAddr::new(*ips.first()?, u16::try_from(port.port).ok()?))
}

/// Stores the address for new pods, and logs changes.
fn publish(last: &Found, found: &Found, cluster: &watch::Sender<Cluster>) {
    if found.used != last.used {
        if let Some((service, address)) = &found.used {
            tracing::info!(service, %address, "found the shared tier");
        } else {
            tracing::info!("the shared tier was removed; new pods do not use it");
        }
    }
    if found.unused != last.unused && !found.unused.is_empty() {
        tracing::info!(services = ?found.unused, "these Services have the label of the shared tier but are not used");
    }
    let addresses: Vec<_> = found.used.iter().map(|(_, address)| *address).collect();
    cluster.send_if_modified(|cluster| {
        let is_new = cluster.shared_tier.addresses != addresses;
        if is_new {
            cluster.shared_tier = Tier::at(addresses);
        }
        is_new
    });
}

/// Updates the metric with the number of addresses for new pods, forever.
pub(crate) async fn export_metric(mut known: watch::Receiver<Cluster>, metrics: Arc<Metrics>) {
    loop {
        let addresses = known.borrow_and_update().tier_for_new_pods().len();
        metrics.shared_tier_addresses.set(i64::try_from(addresses).unwrap_or(i64::MAX));
        if known.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A Service as the API server returns it, with defaults.
    fn service(name: &str, change: &Value) -> Service {
        let mut service = json!({
            "metadata": {"name": name},
            "spec": {
                "type": "ClusterIP", "clusterIP": "10.96.0.53", "clusterIPs": ["10.96.0.53"],
                "internalTrafficPolicy": "Cluster",
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        });
        json_patch::merge(&mut service, change);
        serde_json::from_value(service).expect("a Service")
    }

    fn ports(ports: &[(&str, u16, &str)]) -> Value {
        let port = |(name, port, protocol): &(&str, u16, &str)| json!({"name": name, "port": port, "protocol": protocol});
        json!({"spec": {"ports": ports.iter().map(port).collect::<Vec<_>>()}})
    }

    fn used(services: &[Service], dns: &str) -> Option<String> {
        let dns = dns.parse().ok();
        choose(services.iter(), dns).used.map(|(name, address)| format!("{name} {address}"))
    }

    #[test]
    fn a_service_with_a_cluster_ip_and_a_port_for_udp_and_tcp_is_a_tier() {
        for (change, expected) in [
            (json!({}), Some("10.96.0.53:53")),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), None),
            (json!({"spec": {"type": "ExternalName"}}), None),
            (json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}), None),
            (json!({"spec": {"clusterIP": "", "clusterIPs": []}}), None),
            (json!({"spec": {"clusterIPs": null}}), None),
            (json!({"spec": {"ports": null}}), None),
            (json!({"spec": null}), None),
            (ports(&[("dns", 53, "TCP")]), None),
            (ports(&[("dns", 53, "UDP"), ("dns-tcp", 5353, "TCP")]), None),
            (ports(&[("a", 5353, "UDP"), ("t", 5353, "TCP")]), Some("10.96.0.53:5353")),
            (ports(&[("a", 5353, "UDP"), ("t", 5353, "TCP"), ("b", 53, "UDP")]), Some("10.96.0.53:5353")),
            (
                ports(&[("a", 53, "UDP"), ("t", 53, "TCP"), ("dns", 54, "UDP"), ("u", 54, "TCP")]),
                Some("10.96.0.53:54"),
            ),
        ] {
            let expected = expected.map(|address| format!("tier {address}"));
            assert_eq!(used(&[service("tier", &change)], "10.96.0.10"), expected, "{change}");
        }
    }

    #[test]
    fn tier_address_has_the_family_of_cluster_dns() {
        let dual = service("tier", &json!({"spec": {"clusterIPs": ["10.96.0.53", "fd00::53"]}}));
        let single = service("tier", &json!({"spec": {"clusterIPs": ["fd00::53"]}}));
        for (service, dns, expected) in [
            (&dual, "10.96.0.10", "tier 10.96.0.53:53"),
            (&dual, "fd00::a", "tier [fd00::53]:53"),
            (&dual, "unknown", "tier 10.96.0.53:53"),
            (&single, "10.96.0.10", "tier [fd00::53]:53"),
        ] {
            assert_eq!(used(std::slice::from_ref(service), dns).as_deref(), Some(expected), "{dns}");
        }
    }

    #[test]
    fn node_local_tier_is_preferred_then_first_by_name() {
        let local = json!({"spec": {"internalTrafficPolicy": "Local"}});
        let headless = json!({"spec": {"clusterIPs": ["None"], "internalTrafficPolicy": "Local"}});
        let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let services = [
            service("b", &json!({})),
            service("z", &local),
            service("a", &json!({})),
            service("h", &headless),
            service("g", &gone),
        ];
        let found = choose(services.iter(), None);
        assert_eq!(found.used.map(|(name, _)| name).as_deref(), Some("z"));
        assert_eq!(found.unused, ["h", "a", "b"]);
        assert_eq!(used(&services[..1], "").as_deref(), Some("b 10.96.0.53:53"));
        assert_eq!(used(&[services[0].clone(), services[2].clone()], "").as_deref(), Some("a 10.96.0.53:53"));
        assert_eq!(choose(std::iter::empty(), None), Found::default());
    }
}
