//! A Prometheus process, and queries to it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::files::{read, write_rules};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::get;

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub(super) struct Prometheus {
    address: SocketAddr,
    _process: Child,
}

/// The time-out for its start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Prometheus {
    /// Starts the installed Prometheus with the alerts. It scrapes these targets once per second, with the
    /// relabelings of the PodMonitor. Returns when it is ready.
    pub(super) async fn start(folder: &Path, targets: &[Value]) -> Result<Self, Failure> {
        write_rules(folder)?;
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.json"],
            "scrape_configs": [
                {"job_name": "pods", "static_configs": targets, "relabel_configs": relabelings()?},
            ],
        });
        let file = folder.join("prometheus.json");
        // JSON is valid YAML.
        fs::write(&file, config.to_string()).with_context(|| format!("writing {}", file.display()))?;
        // Prometheus does not accept port 0, so this takes a port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.with_context(|| "looking for a free port".to_owned())?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| "starting prometheus; Debian's package prometheus has it".to_owned())?;
        let start = Instant::now();
        while !get(address, "/-/ready").await.is_ok_and(|answer| answer.contains("200 OK")) {
            if start.elapsed() > START_TIMEOUT {
                return Err(Failure::new("prometheus was not ready in time; see its output above"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { address, _process: process })
    }

    /// The series of an expression that had a finite value at any second of this span until now, one per line.
    pub(super) async fn series(&self, promql: &str, span: Duration) -> Result<String, Failure> {
        // NaN and infinity are not 0 when they are multiplied by 0.
        let query = format!("count_over_time((({promql}) * 0 == 0)[{}s:1s])", span.as_secs());
        let server = format!("http://{}", self.address);
        let mut promtool = Command::new("promtool");
        let output = promtool.args(["query", "instant", &server, &query]).output().await;
        let output = output.with_context(|| "starting promtool".to_owned())?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("querying Prometheus for {promql}: {error}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The relabelings of the PodMonitor, in the spelling of Prometheus' configuration.
fn relabelings() -> Result<Value, Failure> {
    let monitor = read("manifests/overlays/prometheus-operator/podmonitor-sidecars.yaml")?;
    let text = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"].to_string();
    let text = text.replace("sourceLabels", "source_labels").replace("targetLabel", "target_label");
    serde_json::from_str(&text).with_context(|| "reading the relabelings of the PodMonitor".to_owned())
}
