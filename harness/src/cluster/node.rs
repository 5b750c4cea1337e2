//! A node's CPU time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::{Cluster, kubectl, on_node};
use crate::failure::{Failure, Tried};

/// The CPU time that a node had used at some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuTime {
    /// When it was measured, in seconds since 1970.
    pub at: f64,
    /// CPU time of everything that runs on the node, in seconds of one core.
    pub used: f64,
}

impl CpuTime {
    /// How many cores were busy since an earlier sample.
    pub fn cores_since(self, earlier: Self) -> f64 {
        (self.used - earlier.used) / (self.at - earlier.at)
    }
}

impl Cluster {
    /// The node's CPU time by the kubelet's statistics, which it gathers every 10 to 15 s.
    pub async fn node_cpu(&self, node: &str) -> Result<CpuTime, Failure> {
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary?only_cpu_and_memory=true");
        let summary = kubectl(&["get", "--raw", &path]).await?;
        let summary: Value =
            serde_json::from_str(&summary).tried(|| format!("reading the statistics of {node}"))?;
        read_summary(&summary).tried(|| format!("the statistics of the kubelet of {node}"))
    }
}

fn read_summary(summary: &Value) -> Result<CpuTime, Failure> {
    let cpu = &summary["node"]["cpu"];
    let at: Time = serde_json::from_value(cpu["time"].clone()).tried(|| "node.cpu.time".to_owned())?;
    let used = cpu["usageCoreNanoSeconds"].as_f64();
    let used = used.ok_or_else(|| Failure::new("node.cpu.usageCoreNanoSeconds: expected a number"))?;
    Ok(CpuTime { at: at.0.as_millisecond() as f64 / 1e3, used: used / 1e9 })
}

/// The node's CPU time by the kernel, in seconds of one core; `None` where commands cannot be run on the node.
pub async fn cpu_of_proc_stat() -> Result<Option<f64>, Failure> {
    match on_node(&["cat", "/proc/stat"]).await {
        Some(text) => read_proc_stat(&text?).map(Some),
        None => Ok(None),
    }
}

/// All of the first line but idle and iowait, and the guests', which the user's contain; proc_stat(5). A tick is 10 ms.
fn read_proc_stat(text: &str) -> Result<f64, Failure> {
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] => {
            Ok((user + nice + system + irq + softirq + steal) / 100.0)
        }
        _ => Err(Failure::new(format!("/proc/stat: expected \"cpu\" and eight numbers, got {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statistics_of_the_kubelet_are_read_in_seconds() {
        let sample = |time: &str, used: u64| {
            let cpu = json!({ "time": time, "usageNanoCores": 1, "usageCoreNanoSeconds": used });
            read_summary(&json!({ "node": { "cpu": cpu } })).unwrap()
        };
        let (first, second) =
            (sample("2026-11-28T08:00:00Z", 5_000_000_000), sample("2026-11-28T08:00:10Z", 20_000_000_000));
        assert_eq!((second.at - first.at, second.used - first.used), (10.0, 15.0));
        assert!((second.cores_since(first) - 1.5).abs() < 1e-9);
        let failure =
            read_summary(&json!({ "node": { "cpu": { "time": "2026-11-28T08:00:00Z" } } })).unwrap_err();
        assert!(failure.to_string().contains("usageCoreNanoSeconds"), "{failure}");
    }

    #[test]
    fn proc_stat_counts_all_but_idle_and_guests() {
        let busy = read_proc_stat("cpu  100 10 50 9999 999 1 2 3 40 4\ncpu0 1 2 3\n").unwrap();
        assert!((busy - 1.66).abs() < 1e-9, "{busy}");
        assert!(read_proc_stat("intr 1").unwrap_err().to_string().contains("/proc/stat"));
    }
}
