//! The shared tier of a cluster: the real sidecar program as a process on the node, between the sidecars of
//! all pods and the cluster DNS.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use podlocal_settings::names;
use podlocal_settings::table::{ADMIN_PORT, CLUSTER_DOMAIN, LISTEN, ROLE, SHARED_TIER, UPSTREAM};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, WithContext};
use crate::model::pod::ClusterNames;

/// The port of DNS.
const PORT: u16 = 53;

/// The time-out for the start of the tier.
const DEADLINE: Duration = Duration::from_secs(30);

/// The interval at which it is polled during the start.
const POLL: Duration = Duration::from_millis(10);

/// A running shared tier with one process; killed when dropped.
#[derive(Debug)]
pub struct ClusterTier {
    address: Ipv4Addr,
    log: PathBuf,
    process: Child,
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
        let log = directory.join("shared-tier.log");
        let log_file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let process = Command::new(program)
            .arg("serve")
            .args([&ROLE.flag(), "shared"])
            .args([&LISTEN.flag(), &SocketAddr::from((address, PORT)).to_string()])
            .args([&UPSTREAM.flag(), &cluster.dns.to_string()])
            .args([&CLUSTER_DOMAIN.flag(), &cluster.zone])
            .args([&ADMIN_PORT.flag(), "0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut tier = Self { address, log, process };
        tier.wait_until_it_answers(&cluster.zone).await.with_context(|| tier.describe())?;
        Ok(tier)
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
        format!("the shared tier's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Sends a query for a name that cannot exist, which it answers without cluster DNS.
    async fn wait_until_it_answers(&mut self, zone: &str) -> Result<(), Failure> {
        let asking = || "asking the shared tier".to_owned();
        let mut question = Message::query();
        let name = Name::from_ascii(format!("ready.{zone}.")).with_context(asking)?;
        question.add_query(Query::query(name, RecordType::A));
        let question = question.to_vec().with_context(asking)?;
        let socket = UdpSocket::bind("0.0.0.0:0").await.with_context(asking)?;
        socket.connect((self.address, PORT)).await.with_context(asking)?;
        let start = Instant::now();
        loop {
            // The query is refused as long as no process listens.
            let answered = match socket.send(&question).await {
                Ok(_) => timeout(POLL, socket.recv(&mut [0; 512])).await,
                Err(error) => Ok(Err(error)),
            };
            if matches!(answered, Ok(Ok(_))) {
                return Ok(());
            }
            if let Some(status) =
                self.process.try_wait().with_context(|| "watching the shared tier".to_owned())?
            {
                return Err(Failure::new(format!("the shared tier has ended with {status}")));
            }
            if start.elapsed() > DEADLINE {
                return Err(Failure::new(format!(
                    "the shared tier does not serve {DEADLINE:?} after its start"
                )));
            }
            sleep(POLL).await;
        }
    }
}

fn is_told_to(pod: &Value, address: Ipv4Addr) -> bool {
    let containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    let sidecars = containers.filter(|container| container["name"] == names::CONTAINER_NAME);
    let mut variables = sidecars.flat_map(|sidecar| sidecar["env"].as_array().into_iter().flatten());
    variables.any(|variable| {
        // The setting may have a port.
        let is_it = |one: &str| one.split(':').next() == Some(&address.to_string());
        variable["name"] == SHARED_TIER.variable().as_str()
            && variable["value"].as_str().is_some_and(|value| value.split(',').any(is_it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(!is_told_to(&json!({ "spec": { "containers": [] } }), Ipv4Addr::LOCALHOST));
    }
}
