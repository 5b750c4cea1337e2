//! The real webhook, as a process on the node.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::ReviewClient;
use crate::failure::{Failure, WithContext};
use crate::model::pod::ClusterNames;

/// The image in injected pods. It is never pulled.
const SIDECAR_IMAGE: &str = "registry.example/podlocal-sidecar:test";

/// The time-out for the start.
const DEADLINE: Duration = Duration::from_secs(30);

/// The interval at which the log is polled during the start.
const POLL: Duration = Duration::from_millis(10);

/// A running `podlocal-webhook`; killed when dropped.
pub struct Webhook {
    /// Sends reviews to it.
    pub client: ReviewClient,
    /// The address of its metrics.
    pub admin: SocketAddr,
    log: PathBuf,
    process: Child,
}

impl Webhook {
    /// Starts it on a free port of the loopback, for a cluster that does not exist.
    pub async fn start_alone(program: &Path, directory: &Path) -> Result<Self, Failure> {
        let zone = "cluster.local".to_owned();
        let names = ClusterNames { dns: [10, 96, 0, 10].into(), zone, node_searches: Vec::new() };
        Self::start(program, ([127, 0, 0, 1], 0).into(), &names, None, directory).await
    }

    /// Starts it for a cluster, with the address of the shared tier if there is one. Returns when it serves.
    pub async fn start(
        program: &Path,
        listen: SocketAddr,
        cluster: &ClusterNames,
        shared_tier: Option<IpAddr>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let (ca, log) = (directory.join("ca.pem"), directory.join("webhook.log"));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let process = Command::new(program)
            .args(["serve", "--admin-listen", "127.0.0.1:0", "--sidecar-image", SIDECAR_IMAGE])
            .args([format!("--listen={listen}"), format!("--cluster-dns={}", cluster.dns)])
            .args([format!("--cluster-domain={}", cluster.zone), format!("--ca-out={}", ca.display())])
            .args(shared_tier.map(|tier| format!("--shared-tier={tier}")))
            .args(cluster.node_searches.iter().map(|domain| format!("--extra-search={domain}")))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn();
        let mut process = process.with_context(|| format!("starting {}", program.display()))?;
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            // It writes the file of the CA when it listens.
            let has_ca = fs::read_to_string(&ca).is_ok_and(|text| text.contains("END CERTIFICATE"));
            let addresses = ["serving admission reviews", "serving health and metrics"];
            if let ([Some(listen), Some(admin)], true) = (addresses.map(|what| address(&said, what)), has_ca)
            {
                return Ok(Self { client: ReviewClient::new(listen, &ca)?, admin, log, process });
            }
            let status = process.try_wait().with_context("watching the webhook")?;
            if status.is_some() || start.elapsed() > DEADLINE {
                let why = status.map_or("does not serve".to_owned(), |status| format!("has ended: {status}"));
                return Err(Failure::new(format!("the webhook {why}: {said}")));
            }
            sleep(POLL).await;
        }
    }

    /// Stops it, and waits until the process has ended and its address is free.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.process.kill().await.with_context("ending the webhook")
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// Its log, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        format!("the log of the webhook:\n{}", fs::read_to_string(&self.log).unwrap_or_default())
    }
}

/// The address in the line of the log that has this text.
fn address(log: &str, what: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(what))?;
    line.split_once("address=\"")?.1.split_once('"')?.0.parse().ok()
}
