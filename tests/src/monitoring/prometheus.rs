//! A Prometheus process, and queries to it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::in_repository;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::get;

/// A scraped program.
#[derive(Debug, Clone)]
pub struct Target {
    /// The address of its metrics.
    pub admin: SocketAddr,
    /// Its namespace and its pod, as the Prometheus Operator would label it.
    pub labels: [&'static str; 2],
    /// The kind and the name of the pod's controller.
    pub controller: [&'static str; 2],
}

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Child,
}

/// The time-out for its start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Prometheus {
    /// Starts the installed Prometheus, which scrapes once per second. Returns when it is ready.
    pub async fn start(folder: &Path, sidecars: &[Target], webhook: Target) -> Result<Self, Failure> {
        // Prometheus does not accept port 0, so this takes a port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.with_context(|| "looking for a free port".to_owned())?;
        let config = folder.join("prometheus.json");
        let job = |name: &str, targets: &[Target], relabelings: Value| {
            let of_target = |target: &Target| {
                let [namespace, pod] = target.labels;
                let [kind, name] = target.controller;
                json!({
                    "targets": [target.admin.to_string()],
                    "labels": {
                        "namespace": namespace, "pod": pod,
                        "__meta_kubernetes_pod_controller_kind": kind,
                        "__meta_kubernetes_pod_controller_name": name,
                    },
                })
            };
            let targets: Vec<_> = targets.iter().map(of_target).collect();
            json!({"job_name": name, "static_configs": targets, "relabel_configs": relabelings})
        };
        let jobs = [job("sidecars", sidecars, relabelings()?), job("webhook", &[webhook], json!([]))];
        // JSON is valid YAML.
        let text = json!({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}).to_string();
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let mut process = Command::new("prometheus");
        process.arg(format!("--config.file={}", config.display()));
        process.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        process.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let process = process.spawn();
        let process =
            process.with_context(|| "starting prometheus; Debian's package prometheus has it".to_owned())?;
        let prometheus = Self { address, _process: process };
        let start = Instant::now();
        while !get(address, "/-/ready").await.is_ok_and(|answer| answer.contains("200 OK")) {
            if start.elapsed() > START_TIMEOUT {
                return Err(Failure::new("prometheus was not ready in time; see its output above"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(prometheus)
    }

    /// Whether an expression has a value at any second of that span.
    pub async fn has_values(&self, expression: &str, span: Span) -> Result<bool, Failure> {
        let Span { from, to } = span;
        let query = encoded(expression);
        let path = format!("/api/v1/query_range?query={query}&start={from:.3}&end={to:.3}&step=1");
        let what = || format!("asking Prometheus for {expression}");
        let answer = get(self.address, &path).await.with_context(what)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let answer: Value = serde_json::from_str(body).with_context(what)?;
        if answer["status"] != "success" {
            return Err(Failure::new(format!("{}: {}", what(), answer["error"])));
        }
        Ok(has_values(&answer["data"]["result"]))
    }
}

/// A span of Unix time, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Its beginning.
    pub from: f64,
    /// Its end.
    pub to: f64,
}

/// Whether a series has a numeric value.
fn has_values(series: &Value) -> bool {
    let points = series.as_array().into_iter().flatten().filter_map(|one| one["values"].as_array()).flatten();
    let mut numbers = points.filter_map(|point| point[1].as_str()?.parse::<f64>().ok());
    numbers.any(f64::is_finite)
}

/// The relabelings of the PodMonitor, in the format of Prometheus' configuration.
fn relabelings() -> Result<Value, Failure> {
    let file = "manifests/overlays/prometheus-operator/podmonitor-sidecars.yaml";
    let text = fs::read_to_string(in_repository(file)).with_context(|| format!("reading {file}"))?;
    let monitor: Value = serde_saphyr::from_str(&text).with_context(|| format!("understanding {file}"))?;
    let relabelings = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"].as_array();
    let in_words_of_prometheus = |relabeling: &Value| {
        let word = |name: &str| match name {
            "sourceLabels" => "source_labels".to_owned(),
            "targetLabel" => "target_label".to_owned(),
            name => name.to_owned(),
        };
        let pairs = relabeling.as_object().into_iter().flatten();
        Value::Object(pairs.map(|(name, value)| (word(name), value.clone())).collect())
    };
    Ok(relabelings.into_iter().flatten().map(in_words_of_prometheus).collect())
}

/// Percent-encodes a part of a URL (RFC 3986 section 2.1).
fn encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_fits_into_a_url() {
        assert_eq!(encoded("a{b=\"c\"} + 1"), "a%7Bb%3D%22c%22%7D%20%2B%201");
    }

    #[test]
    fn a_series_without_a_number_is_empty() {
        let of = |value: &str| has_values(&json!([{"metric": {"pod": "a"}, "values": [[1.0, value]]}]));
        assert_eq!(["2.5", "NaN", "+Inf"].map(of), [true, false, false]);
        assert!(!has_values(&json!([])));
    }
}
