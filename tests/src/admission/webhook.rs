//! The real webhook, as a process on the node.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ReviewClient;
use crate::failure::{Failure, Tried};
use crate::pod::ClusterNames;

/// The port of the manifests.
const PORT: u16 = 8443;

/// The image that injected pods name. Nothing pulls it.
const SIDECAR_IMAGE: &str = "registry.example/podlocal-sidecar:test";

/// How long the webhook may take to serve.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often its CA file is looked for meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// A running `podlocal-webhook`; killed when dropped.
#[derive(Debug)]
pub struct Webhook {
    /// Sends reviews to it.
    pub client: ReviewClient,
    /// Where it tells what it has counted.
    pub admin: SocketAddr,
    log: PathBuf,
    process: Child,
}

impl Webhook {
    /// Starts it on an address of the node, for a cluster, and tells it of the shared tier if there is one; returns
    /// when it serves.
    pub async fn start(
        program: &Path,
        address: Ipv4Addr,
        cluster: &ClusterNames,
        shared_tier: Option<Ipv4Addr>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        Self::start_at(program, SocketAddr::from((address, PORT)), cluster, shared_tier, directory).await
    }

    /// The same with a port; 0 is any that is free.
    pub async fn start_at(
        program: &Path,
        listen: SocketAddr,
        cluster: &ClusterNames,
        shared_tier: Option<Ipv4Addr>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let (ca, log) = (directory.join("ca.pem"), directory.join("webhook.log"));
        let log_file = File::create(&log).tried(|| format!("making {}", log.display()))?;
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
            .tried(|| format!("starting {}", program.display()))?;
        wait_for_certificate(&mut process, &ca).await.tried(|| describe(&log))?;
        let listen = logged_address(&log, "serving admission reviews")?;
        let admin = logged_address(&log, "serving health and metrics")?;
        Ok(Self { client: ReviewClient::new(listen, &ca)?, admin, log, process })
    }

    /// Ends it, and waits until it is gone and its address is free.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.process.kill().await.tried(|| "ending the webhook".to_owned())
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// What it has logged, for people who have to find out what went wrong.
    pub fn describe(&self) -> String {
        describe(&self.log)
    }
}

/// The file is written when the webhook listens.
async fn wait_for_certificate(process: &mut Child, ca: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !fs::read_to_string(ca).is_ok_and(|text| text.contains("END CERTIFICATE")) {
        if let Some(status) = process.try_wait().tried(|| "watching the webhook".to_owned())? {
            return Err(Failure::new(format!("the webhook has ended with {status}")));
        }
        if start.elapsed() > DEADLINE {
            return Err(Failure::new(format!("the webhook does not serve after {DEADLINE:?}")));
        }
        ticks.tick().await;
    }
    Ok(())
}

/// The address in the line of the log that says so.
fn logged_address(log: &Path, what: &str) -> Result<SocketAddr, Failure> {
    let text = fs::read_to_string(log).tried(|| format!("reading {}", log.display()))?;
    let line = text.lines().find(|line| line.contains(what));
    let address = line.and_then(|line| line.split_once("address=\"")?.1.split_once('"')?.0.parse().ok());
    address.ok_or_else(|| {
        Failure::new(format!("the webhook does not say {what:?} and where; {}", describe(log)))
    })
}

fn describe(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    format!("the webhook's log:\n{text}")
}
