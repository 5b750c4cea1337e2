//! `podlocal-webhook check`: reports what the webhook would do to workloads, why, and what that saves.
//! Changes nothing.
//!
//! ```text
//!   files | live -> ledger -> assess -> selectors, crate::review::mutate   one pod of each workload
//!           live -> facts -> installation                          is the webhook installed and healthy?
//!                            assess -> diff, estimate              what changes, and what a lookup costs
//!   report -> text | json
//! ```
//!
//! The decisions are those of a review: the label selectors of the webhook configuration, then
//! [`crate::review::mutate`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub mod api;
pub mod assess;
pub mod diff;
pub mod estimate;
pub mod facts;
pub mod files;
pub mod installation;
pub mod invalid_fields;
pub mod json;
pub mod ledger;
pub mod live;
pub mod progress;
pub mod reason;
pub mod requests;
pub mod selectors;
pub mod templates;
pub mod text;
pub mod tier_usage;

use crate::config::Check;
use assess::{NamespaceMetadata, Verdict};
use installation::{Finding, State};
use ledger::Ledger;
use podlocal_settings::read::SettingError;

/// The assumed address of cluster DNS if it is unknown: the default of kubeadm. No verdict depends on it.
const SOME_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 53);

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The source of the workloads.
    pub source: Source,
    /// For a cluster: the state of the installation, and missing permissions.
    pub installation: Vec<Finding>,
    /// The assumptions.
    pub notes: Vec<String>,
    /// The addresses of cluster DNS that were used, in the form of `--cluster-dns`.
    pub cluster_dns: String,
    /// The cluster domain that was used.
    pub cluster_domain: String,
    /// The fields in documents that an API server rejects, with their object.
    pub refused: Vec<(String, SettingError)>,
    /// The labels and annotations of the namespaces.
    pub namespaces_metadata: BTreeMap<String, NamespaceMetadata>,
    /// The workloads.
    pub ledger: Ledger,
    /// Whether all workloads were read.
    pub is_whole: bool,
    /// Whether new pods use a shared tier.
    pub has_tier: bool,
    /// Whether every namespace was treated as opted in.
    pub as_if_enabled: bool,
}

/// The source of the workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Source {
    Documents { number: usize, files: Vec<String> },
    Cluster { server: String, namespace: Option<String> },
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// The error.
    pub what: String,
    /// What the user can do about it.
    pub next: String,
}

/// Checks the documents or the cluster of the settings.
pub async fn run(settings: &Check) -> Result<Report, Error> {
    if settings.files.is_empty() { live::run(settings).await } else { files::run(settings) }
}

impl Report {
    /// Whether there are no problems: every opted-in pod is injected, no setting is ignored, no document is
    /// rejected, and the installation is healthy.
    pub fn is_fine(&self) -> bool {
        let of_workload =
            |verdict: Verdict| matches!(verdict, Verdict::Not(reason) if reason.is_unexpected());
        let is_fine =
            |row: &ledger::Row| !of_workload(row.assessment.verdict) && row.assessment.errors.is_empty();
        self.refused.is_empty()
            && self.ledger.rows().all(|(_, row)| is_fine(row))
            && self.namespaces_metadata.values().all(|namespace_metadata| {
                assess::of_namespace(namespace_metadata, &self.cluster_domain).is_empty()
            })
            && self.installation.iter().all(|finding| finding.state != State::Problem)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Documents { number, files } => {
                let documents = if *number == 1 { "document" } else { "documents" };
                write!(formatter, "{number} {documents} of {}", files.join(", "))
            }
            Self::Cluster { server, namespace: None } => write!(formatter, "the cluster at {server}"),
            Self::Cluster { server, namespace: Some(namespace) } => {
                write!(formatter, "namespace {namespace} of the cluster at {server}")
            }
        }
    }
}
