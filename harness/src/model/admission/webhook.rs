//! The real webhook, as a process on the node.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ReviewClient;
use crate::failure::{Failure, WithContext};
use crate::model::pod::ClusterNames;

/// The port of the manifests.
const PORT: u16 = 8443;

/// The image in injected pods. It is never pulled.
const SIDECAR_IMAGE: &str = "registry.example/podlocal-sidecar:test";

/// The time-out for the start of the webhook.
const DEADLINE: Duration = Duration::from_secs(30);

/// The interval at which its CA file is polled during the start.
const POLL: Duration = Duration::from_millis(10);

/// A running `podlocal-webhook`; killed when dropped.
#[derive(Debug)]
pub struct Webhook {
    /// Sends reviews to it.
    pub client: ReviewClient,
    /// The address of its metrics.
    pub admin: SocketAddr,
    log: PathBuf,
    process: Child,
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
        let (ca, log) = (directory.join("ca.pem"), directory.join("webhook.log"));
        let log_file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let mut process = Command::new(program)
            .arg("serve")
            .args(["--listen", &listen.to_string(), "--admin-listen", "127.0.0.1:0"])
            .args(["--sidecar-image", SIDECAR_IMAGE])
            .args(["--cluster-dns", &cluster.dns.to_string(), "--cluster-domain", &cluster.zone])
            .args(shared_tier.into_iter().flat_map(|tier| ["--shared-tier".to_owned(), tier.to_string()]))
            .arg("--ca-out")
            .arg(&ca)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        wait_for_certificate(&mut process, &ca).await.with_context(|| describe(&log))?;
        let listen = logged_address(&log, "serving admission reviews")?;
        let admin = logged_address(&log, "serving health and metrics")?;
        Ok(Self { client: ReviewClient::new(listen, &ca)?, admin, log, process })
    }

    /// Stops it, and waits until the process has ended and its address is free.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.process.kill().await.with_context(|| "ending the webhook".to_owned())
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// Its log, for the diagnosis of a failure.
    pub fn describe(&self) -> String {
        describe(&self.log)
    }
}

/// Waits for the CA file, which the webhook writes when it listens.
async fn wait_for_certificate(process: &mut Child, ca: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !fs::read_to_string(ca).is_ok_and(|text| text.contains("END CERTIFICATE")) {
        if let Some(status) = process.try_wait().with_context(|| "watching the webhook".to_owned())? {
            return Err(Failure::new(format!("the webhook has ended with {status}")));
        }
        if start.elapsed() > DEADLINE {
            return Err(Failure::new(format!("the webhook does not serve {DEADLINE:?} after its start")));
        }
        ticks.tick().await;
    }
    Ok(())
}

/// The address in the log line that contains `what`.
fn logged_address(log: &Path, what: &str) -> Result<SocketAddr, Failure> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let line = text.lines().find(|line| line.contains(what));
    let address = line.and_then(|line| line.split_once("address=\"")?.1.split_once('"')?.0.parse().ok());
    address.ok_or_else(|| {
        Failure::new(format!("the webhook's log has no line {what:?} with an address; {}", describe(log)))
    })
}

fn describe(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    format!("the webhook's log:\n{text}")
}
