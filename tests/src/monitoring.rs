//! Monitoring: the dashboard and the alerts, based on the metrics that the programs expose.
//!
//! ```text
//!   exposition   reads a page of metrics: families with their labels
//!   expression   the metrics and labels in a PromQL expression
//!   panels       the dashboard as a table: rows, panels, expressions
//!   grafana      that table as Grafana's JSON
//!   rules        the alerts of the manifests, and every expression as rules for promtool
//!   reference    the table of metrics in the documentation
//!   stage        sidecars, a shared tier, a webhook and a Prometheus that scrapes them, with an outage
//!   prometheus   a Prometheus process, and queries to it
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

/// The path of a file in this repository.
pub fn in_repository(path: &str) -> PathBuf {
    root().join(path)
}

/// The target labels that Prometheus adds according to the monitors in the manifests.
pub const TARGET_LABELS: [&str; 5] = ["namespace", "pod", "workload", "instance", "job"];

/// The file of the dashboard.
pub const DASHBOARD: &str = "manifests/overlays/prometheus-operator/dashboard.json";

/// The document with every metric, panel and alert.
pub const DOCUMENT: &str = "docs/monitoring.md";
