//! The target: a fresh tier or pod of the experiment, or the installed webhook; and its state during the
//! attack.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::pods::is_ready;
use podlocal_harness::cluster::{eventually, product, tier};
use podlocal_harness::failure::Failure;
use podlocal_harness::process::usage;
use podlocal_settings::table::UPSTREAM as UPSTREAM_SETTING;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::UPSTREAM;
use super::attack::TargetKind;
use super::send::ATTACKER;

/// The interval at which the state of its pods is read.
const INTERVAL: Duration = Duration::from_millis(500);

/// The target of an attack.
pub struct Target {
    /// The namespace of its pods, and the label that selects them.
    namespace: Namespace,
    label: &'static str,
    /// The addresses of its pods: one, or two for the replicas of the webhook.
    pub addresses: Vec<Ipv4Addr>,
    /// A process in the network namespace of the first pod.
    pub process: Option<u32>,
    /// The load in an attacked pod.
    pub load: Option<Load>,
}

/// The state of a target during an attack.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TargetStats {
    /// How often a container was restarted.
    pub restarts: u64,
    /// The number of half-second samples in which a pod was not ready.
    pub not_ready: u32,
    /// The peak resident memory of one process (VmHWM of proc_pid_status(5)), in MiB.
    pub peak_mib: f64,
    /// The memory limit of its container, in the notation of the manifest.
    pub limit: String,
}

impl Target {
    /// Starts the target in a separate namespace, so that the installation stays as it is.
    pub async fn start(target_kind: TargetKind, namespace: &Namespace) -> Result<Self, Failure> {
        let mut target = match target_kind {
            TargetKind::Tier => {
                let variable = (UPSTREAM_SETTING.variable(), UPSTREAM.to_string());
                tier::start(namespace, 1, Some(variable)).await?;
                Self::of(namespace.clone(), tier::LABEL)
            }
            TargetKind::Sidecar => {
                let load = Load::start(namespace, load::pod(Libc::Glibc, &["kubernetes.default"])).await?;
                Self { load: Some(load), ..Self::of(namespace.clone(), "") }
            }
            TargetKind::Webhook => Self::of(
                product::namespace(&namespace.cluster),
                "app.kubernetes.io/name=podlocal-dns-webhook",
            ),
        };
        let pods = eventually("every attacked pod is ready", async || {
            let pods = target.pods().await?;
            Ok((!pods.is_empty() && pods.iter().all(is_ready)).then_some(pods))
        })
        .await?;
        let address = |pod: &Value| pod["status"]["podIP"].as_str().and_then(|text| text.parse().ok());
        target.addresses = pods.iter().filter_map(address).collect();
        target.process = pods.first().and_then(|pod| processes_of(pod).into_iter().next());
        Ok(target)
    }

    fn of(namespace: Namespace, label: &'static str) -> Self {
        Self { namespace, label, addresses: Vec::new(), process: None, load: None }
    }

    /// Watches its pods for this long.
    pub async fn watch(&self, length: Duration) -> Result<TargetStats, Failure> {
        let end = Instant::now() + length;
        let before = restarts(&self.pods().await?);
        let mut watched = TargetStats::default();
        while Instant::now() < end {
            sleep(INTERVAL).await;
            let pods = self.pods().await?;
            watched.not_ready += pods.iter().filter(|pod| !is_ready(pod)).count() as u32;
            watched.restarts = restarts(&pods).saturating_sub(before);
            let peaks = pods.iter().flat_map(processes_of).filter_map(|process| usage(process).ok());
            watched.peak_mib = peaks.map(|usage| usage.most_resident).fold(watched.peak_mib, f64::max);
            watched.limit = pods.first().map(limit).unwrap_or_default();
        }
        Ok(watched)
    }

    /// The number of Events in `kube-system` that contain the attacker's text.
    pub async fn events_of_attackers(&self) -> Result<usize, Failure> {
        let cluster = &self.namespace.cluster;
        let events = cluster.list(&cluster.api("events.k8s.io/v1", "Event", Some("kube-system")), "").await?;
        Ok(events.iter().filter(|event| event.to_string().contains(ATTACKER)).count())
    }

    async fn pods(&self) -> Result<Vec<Value>, Failure> {
        self.namespace.pods(self.label).await
    }
}

fn restarts(pods: &[Value]) -> u64 {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses =
        pods.iter().flat_map(|pod| lists.iter().filter_map(|list| pod["status"][*list].as_array()));
    statuses.flatten().filter_map(|status| status["restartCount"].as_u64()).sum()
}

/// The limit of the memory of a pod's sidecar, or of its only container.
fn limit(pod: &Value) -> String {
    let container = product::sidecar(pod).unwrap_or(&pod["spec"]["containers"][0]);
    container["resources"]["limits"]["memory"].as_str().unwrap_or_default().to_owned()
}

/// The product's processes in a pod: those of its control group (`/kubepods/.../pod<UID>/...`, with `_` in
/// place of `-` where systemd manages groups).
fn processes_of(pod: &Value) -> Vec<u32> {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or("?");
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_in = |process: &u32| {
        let read = |file| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        read("comm").starts_with("podlocal") && read("cgroup").replace('_', "-").contains(uid)
    };
    processes.filter(is_in).collect()
}
