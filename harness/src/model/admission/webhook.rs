//! The real webhook, as a process on the node.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::ReviewClient;
use crate::failure::Failure;
use crate::model::daemon::Daemon;
use crate::model::pod::ClusterNames;

/// The port of the manifests.
const PORT: u16 = 8443;

/// The image in injected pods. It is never pulled.
const SIDECAR_IMAGE: &str = "registry.example/podlocal-sidecar:test";

/// A running `podlocal-webhook`; killed when dropped.
pub struct Webhook {
    /// Sends reviews to it.
    pub client: ReviewClient,
    /// The address of its metrics.
    pub admin: SocketAddr,
    daemon: Daemon,
}

impl Webhook {
    /// Starts it on an address of the node, for a cluster, with the address of the shared tier if there is
    /// one. Returns when it serves.
    pub async fn start(
        program: &Path,
        address: Ipv4Addr,
        cluster: &ClusterNames,
        shared_tier: Option<Ipv4Addr>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        Self::start_at(program, SocketAddr::from((address, PORT)), cluster, shared_tier, directory).await
    }

    /// Starts it on this port; 0 selects a free one.
    pub async fn start_at(
        program: &Path,
        listen: SocketAddr,
        cluster: &ClusterNames,
        shared_tier: Option<Ipv4Addr>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let ca = directory.join("ca.pem");
        let (listen, dns, ca_out) = (listen.to_string(), cluster.dns.to_string(), ca.to_string_lossy());
        let tier = shared_tier.map(|tier| format!("--shared-tier={tier}"));
        let mut arguments = vec!["serve", "--listen", &listen, "--admin-listen", "127.0.0.1:0"];
        arguments.extend(["--sidecar-image", SIDECAR_IMAGE, "--cluster-dns", &dns]);
        arguments.extend(["--cluster-domain", &cluster.zone, "--ca-out", &ca_out]);
        arguments.extend(tier.as_deref());
        // It writes the file of the CA when it listens.
        let addresses = |log: &str| {
            let address = |what| {
                let line = log.lines().find(|line| line.contains(what))?;
                line.split_once("address=\"")?.1.split_once('"')?.0.parse().ok()
            };
            let has_ca = fs::read_to_string(&ca).is_ok_and(|text| text.contains("END CERTIFICATE"));
            has_ca
                .then(|| {
                    Some((address("serving admission reviews")?, address("serving health and metrics")?))
                })
                .flatten()
        };
        let log = directory.join("webhook.log");
        let (daemon, (listen, admin)) =
            Daemon::start("the webhook", program, &arguments, log, addresses).await?;
        Ok(Self { client: ReviewClient::new(listen, &ca)?, admin, daemon })
    }

    /// Stops it, and waits until the process has ended and its address is free.
    pub async fn stop(self) -> Result<(), Failure> {
        self.daemon.stop().await
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Its log, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        self.daemon.describe()
    }
}
