//! The shared tier of a cluster: the real sidecar program as a process on the node, between the sidecars of
//! all pods and the cluster DNS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use podlocal_settings::table::{ADMIN_PORT, CLUSTER_DOMAIN, LISTEN, ROLE, UPSTREAM};
use serde_json::Value;

use crate::cluster::product::tier_of;
use crate::failure::Failure;
use crate::model::daemon::Daemon;
use crate::model::pod::ClusterNames;

/// The port of DNS.
const PORT: u16 = 53;

/// A running shared tier with one process; killed when dropped.
#[derive(Debug)]
pub struct ClusterTier {
    address: Ipv4Addr,
    daemon: Daemon,
}

impl ClusterTier {
    /// Starts it on an address of the node, in front of the cluster DNS of that cluster. Returns when it
    /// serves.
    pub async fn start(
        program: &Path,
        address: Ipv4Addr,
        cluster: &ClusterNames,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let (listen, dns) = (SocketAddr::from((address, PORT)).to_string(), cluster.dns.to_string());
        let settings = [
            (ROLE.flag(), "shared"),
            (LISTEN.flag(), &listen),
            (UPSTREAM.flag(), &dns),
            (CLUSTER_DOMAIN.flag(), &cluster.zone),
            (ADMIN_PORT.flag(), "0"),
        ];
        let flags = settings.iter().flat_map(|(flag, value)| [flag.as_str(), value]);
        let arguments: Vec<&str> = ["serve"].into_iter().chain(flags).collect();
        let log = directory.join("shared-tier.log");
        let is_ready = |log: &str| log.contains("serving").then_some(());
        let (daemon, ()) = Daemon::start("the shared tier", program, &arguments, log, is_ready).await?;
        Ok(Self { address, daemon })
    }

    /// Its address, as in the settings of the webhook.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether the settings of that pod's sidecar name it.
    pub fn is_known_to(&self, pod: &Value) -> bool {
        is_told_to(pod, self.address)
    }

    /// Its log, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        self.daemon.describe()
    }
}

fn is_told_to(pod: &Value, address: Ipv4Addr) -> bool {
    // A server of the setting may have a port.
    let is_it = |one: &str| one.split(':').next() == Some(&address.to_string());
    tier_of(pod).is_some_and(|servers| servers.split(',').any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_settings::{names, table::SHARED_TIER};
    use serde_json::json;

    #[test]
    fn a_pod_knows_the_tier_when_its_sidecar_is_told_of_that_address() {
        let is_told = |container: &str, value: &str| {
            let variable = json!({ "name": SHARED_TIER.variable(), "value": value });
            let pod = json!({ "spec": { "initContainers": [{ "name": container, "env": [variable] }] } });
            is_told_to(&pod, Ipv4Addr::new(10, 96, 0, 40))
        };
        assert!(is_told(names::CONTAINER_NAME, "10.96.0.40"));
        assert!(is_told(names::CONTAINER_NAME, "10.96.0.41,10.96.0.40:53"));
        assert!(!is_told(names::CONTAINER_NAME, "10.96.0.4"));
        assert!(!is_told("another", "10.96.0.40"));
    }
}
