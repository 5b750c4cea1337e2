//! Monitoring: the dashboard and the alerts, compared with the metrics that the programs expose.
//!
//! ```text
//!   files        the expressions of the dashboard and of the alerts, and both as rules for Prometheus
//!   programs     the metrics of the programs just after their start
//!   outage       the programs under load with an outage, after which every panel must have data
//!   prometheus   a Prometheus process, and queries to it
//! ```

pub mod files;
pub mod outage;
pub mod programs;
mod prometheus;
