//! Collects workloads and the assessments of their pods. Pure.
//!
//! Only one assessment is kept per workload: the memory for 100,000 pods is that of the names of their
//! controllers.

use std::collections::BTreeMap;

use podlocal_settings::names::CONTAINER_NAME;
use serde_json::Value;

use super::assess::{Assessment, Context, NamespaceMetadata, Verdict, assess};
use super::requests::Sum;
use super::workload::{Count, Pods, Workload};

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The number of pods.
    pub(crate) pods: Pods,
    /// The assessment of one of these pods.
    pub(crate) assessment: Assessment,
}

/// The rows by workload; pods with the sidecar and pods without it are separate rows of a workload.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rows: BTreeMap<(Workload, bool), Row>,
}

impl Ledger {
    /// Adds pods that are like `pod`; returns their row.
    pub(crate) fn add(
        &mut self,
        workload: Workload,
        pods: Pods,
        pod: &Value,
        namespace_metadata: &NamespaceMetadata,
        context: &Context,
    ) -> &mut Row {
        let namespace = workload.namespace.clone();
        self.rows
            .entry((workload, has_sidecar(pod)))
            .and_modify(|row| row.pods = row.pods.and(pods))
            .or_insert_with(|| Row { pods, assessment: assess(pod, &namespace, namespace_metadata, context) })
    }

    /// The rows, sorted by namespace, kind and name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Workload, &Row)> {
        self.rows.iter().map(|((workload, _), row)| (workload, row))
    }

    /// The resource requests of all sidecars that would be injected.
    pub(crate) fn requests(&self) -> Sum {
        Sum::of(self.rows.values().filter_map(|row| Some((row.pods, row.assessment.requests.as_ref()?))))
    }

    /// Counts the workloads and pods whose verdict is `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(Verdict) -> bool) -> Count {
        let rows = self.rows.values().filter(|row| wanted(row.assessment.verdict));
        rows.fold(Count::default(), |count, row| count.and(row.pods))
    }
}

fn has_sidecar(pod: &Value) -> bool {
    let mut containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    containers.any(|container| container["name"] == CONTAINER_NAME)
}
