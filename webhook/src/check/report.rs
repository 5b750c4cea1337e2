//! What a check found, before it is formatted. Pure.

use podlocal_settings::value::DomainName;
use std::collections::BTreeMap;
use std::fmt;

use podlocal_settings::read::SettingError;

use super::assess::{self, NamespaceMetadata, Verdict};
use super::estimate::Total;
use super::finding::{Finding, State};
use super::ledger::{Ledger, Row};

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The source of the workloads.
    pub(crate) source: Source,
    /// For a cluster: the state of the installation, and missing permissions.
    pub(crate) installation: Vec<Finding>,
    /// The assumptions.
    pub(crate) notes: Vec<String>,
    /// The addresses of cluster DNS that were used, in the form of `--cluster-dns`.
    pub(crate) cluster_dns: String,
    /// The cluster domain that was used.
    pub(crate) cluster_domain: DomainName,
    /// The fields in documents that an API server rejects, with their object.
    pub(crate) refused: Vec<(String, SettingError)>,
    /// The labels and annotations of the namespaces.
    pub(crate) namespaces_metadata: BTreeMap<String, NamespaceMetadata>,
    /// The workloads.
    pub(crate) ledger: Ledger,
    /// Whether all workloads were read.
    pub is_whole: bool,
    /// Whether new pods use a shared tier.
    pub(crate) has_tier: bool,
    /// Whether every namespace was treated as opted in.
    pub(crate) as_if_enabled: bool,
}

/// The source of the workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum Source {
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

impl Report {
    /// Whether there are no problems: every opted-in pod is injected, no setting is ignored, no document is
    /// rejected, and the installation is healthy.
    pub fn is_fine(&self) -> bool {
        let of_workload =
            |verdict: Verdict| matches!(verdict, Verdict::Not(reason) if reason.is_unexpected());
        let is_fine = |row: &Row| !of_workload(row.assessment.verdict) && row.assessment.errors.is_empty();
        self.refused.is_empty()
            && self.ledger.rows().all(|(_, row)| is_fine(row))
            && self.namespaces_metadata.values().all(|namespace_metadata| {
                assess::of_namespace(namespace_metadata, &self.cluster_domain).is_empty()
            })
            && self.installation.iter().all(|finding| finding.state != State::Problem)
    }

    /// The cost of the cold start of all workloads that would be injected.
    pub(crate) fn total(&self, names: u32) -> Total {
        let rows = self.ledger.rows();
        let costs = rows.filter_map(|(_, row)| Some((row.pods.at_least(), row.assessment.cost?)));
        Total::of(costs, names)
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
