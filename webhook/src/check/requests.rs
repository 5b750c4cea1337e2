//! The CPU and memory that the sidecars request in addition to the pods' own requests. Pure.

use podlocal_settings::value::Quantity;
use serde_json::{Value, json};

use super::workload::Pods;

/// The resource requests of one sidecar. In BestEffort pods and pods with pod-level resources it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requests {
    cpu: Quantity,
    memory: Quantity,
}

/// The sum of the resource requests of sidecars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// The number of pods; a workload with one pod on each node counts as one.
    pub(crate) pods: u64,
    /// In thousandths of a CPU, rounded up for each sidecar.
    pub(crate) cpu_millis: u64,
    /// In bytes.
    pub(crate) memory_bytes: u64,
}

impl Requests {
    /// The requests of an injected container.
    pub(crate) fn of(container: &Value) -> Option<Self> {
        let requests = &container["resources"]["requests"];
        let of = |name: &str| Quantity::parse(requests[name].as_str()?).ok();
        Some(Self { cpu: of("cpu")?, memory: of("memory")? })
    }

    /// As text for the list of changes.
    pub(crate) fn words(&self) -> String {
        format!("+ requests cpu {}, memory {}", self.cpu, self.memory)
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({"cpu": self.cpu.as_str(), "memory": self.memory.as_str()})
    }
}

impl Sum {
    /// Sums the requests of workloads with these numbers of pods.
    pub(crate) fn of<'a>(workloads: impl Iterator<Item = (Pods, &'a Requests)>) -> Self {
        workloads.fold(Self::default(), |sum, (pods, requests)| {
            let pods = pods.at_least();
            Self {
                pods: sum.pods.saturating_add(pods),
                cpu_millis: sum.cpu_millis.saturating_add(requests.cpu.millis().saturating_mul(pods)),
                memory_bytes: sum.memory_bytes.saturating_add(requests.memory.whole().saturating_mul(pods)),
            }
        })
    }

    /// As text: `1.06 CPU and 1.66 GiB`.
    pub(crate) fn words(&self) -> String {
        let (whole, millis) = (self.cpu_millis / 1000, self.cpu_millis % 1000);
        let cpu = format!("{whole}.{millis:03}");
        let cpu = cpu.trim_end_matches('0').trim_end_matches('.');
        let mebi = self.memory_bytes.div_ceil(1 << 20);
        let memory = if mebi < 1024 {
            format!("{mebi} MiB")
        } else {
            let hundredths = (mebi * 100).div_ceil(1024);
            format!("{}.{:02} GiB", hundredths / 100, hundredths % 100)
        };
        format!("{cpu} CPU and {memory}")
    }
}
