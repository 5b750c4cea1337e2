//! What is watched, and with what: the dashboard and the alerts over the metrics that the programs really
//! expose.
//!
//! ```text
//!   exposition   a page of metrics, read: families with their labels
//!   expression   which metrics and labels a PromQL expression names
//!   panels       the dashboard as a table: rows, panels, expressions
//!   grafana      that table as Grafana's JSON
//!   rules        the alerts of the manifests, and every expression as rules that promtool reads
//!   reference    the metrics as a table of the docs
//!   stage        sidecars, a shared tier, a webhook and a Prometheus that scrapes them, with an outage
//!   prometheus   Prometheus as a process, and its answers
//! ```

pub mod exposition;
pub mod expression;
pub mod grafana;
pub mod panels;
pub mod prometheus;
pub mod reference;
pub mod rules;
pub mod stage;

use std::path::PathBuf;

use podlocal_harness::repository::root;

/// The place of a file of this repository.
pub fn in_repository(path: &str) -> PathBuf {
    root().join(path)
}

/// The labels that Prometheus adds to what it scrapes, by the monitors of the manifests.
pub const OF_TARGETS: [&str; 5] = ["namespace", "pod", "workload", "instance", "job"];

/// The file of the dashboard.
pub const DASHBOARD: &str = "manifests/overlays/prometheus-operator/dashboard.json";

/// The document with every metric, panel and alert.
pub const DOCUMENT: &str = "docs/monitoring.md";
