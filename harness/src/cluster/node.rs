//! A node's CPU time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::{Cluster, kubectl, on_node};
use crate::failure::{Failure, WithContext};
use crate::process::cpu_in;

/// A sample of the CPU time that a node has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuTime {
    /// When it was measured, in seconds since 1970.
    pub at: f64,
    /// CPU time of all processes on the node, in seconds of one core.
    pub used: f64,
}

impl CpuTime {
    /// The average number of busy cores since an earlier sample.
    pub fn cores_since(self, earlier: Self) -> f64 {
        (self.used - earlier.used) / (self.at - earlier.at)
    }
}

impl Cluster {
    /// The node's CPU time from the kubelet's statistics, which the kubelet updates every 10 to 15 s.
    pub async fn node_cpu(&self, node: &str) -> Result<CpuTime, Failure> {
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary?only_cpu_and_memory=true");
        let summary = kubectl(&["get", "--raw", &path]).await?;
        let summary: Value =
            serde_json::from_str(&summary).with_context(|| format!("reading the statistics of {node}"))?;
        read_summary(&summary).with_context(|| format!("the statistics of the kubelet of {node}"))
    }
}

fn read_summary(summary: &Value) -> Result<CpuTime, Failure> {
    let cpu = &summary["node"]["cpu"];
    let at: Time = serde_json::from_value(cpu["time"].clone()).with_context("node.cpu.time")?;
    let used = cpu["usageCoreNanoSeconds"].as_f64();
    let used = used.with_context("node.cpu.usageCoreNanoSeconds: expected a number")?;
    Ok(CpuTime { at: at.0.as_millisecond() as f64 / 1e3, used: used / 1e9 })
}

/// The CPU time of the node's processes, and of the children that they have waited for, in seconds of one
/// core; `None` when commands cannot be run on the node. It excludes other work of the machine, and the
/// kernel's own threads.
pub async fn cpu_of_processes() -> Result<Option<f64>, Failure> {
    // Some processes end while this runs.
    let command = ["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true"];
    match on_node(&command).await {
        Some(text) => Ok(Some(text?.lines().filter_map(cpu_in).sum())),
        None => Ok(None),
    }
}
