//! `podlocal-webhook check`: what the webhook would do to workloads, why, and what that saves. Changes nothing.
//!
//! ```text
//!   files | live -> ledger -> assess -> selectors, crate::mutate   one pod of each workload
//!           live -> facts -> installation                          is the webhook there, and well?
//!                            assess -> diff, estimate              what changes, and what a look-up costs
//!   report -> text | json
//! ```
//!
//! The decisions are those of a review: the label selectors of the webhook's configuration, then [`crate::mutate`].

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
pub mod json;
pub mod ledger;
pub mod live;
pub mod progress;
pub mod reason;
pub mod requests;
pub mod selectors;
pub mod shape;
pub mod templates;
pub mod text;
pub mod told;

use crate::config::Check;
use assess::{Home, Verdict};
use installation::{Finding, State};
use ledger::Ledger;
use podlocal_settings::read::SettingError;

/// What stands for the address of the cluster's DNS where nobody knows it: kubeadm's. No verdict depends on which it is.
const SOME_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 53);

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// Where.
    pub source: Source,
    /// Of a cluster: whether the webhook is there, and what could not be seen.
    pub installation: Vec<Finding>,
    /// What was assumed.
    pub notes: Vec<String>,
    /// The addresses of the cluster's DNS that the pods were decided with, as `--cluster-dns` takes them.
    pub cluster_dns: String,
    /// The cluster domain that they were decided with.
    pub cluster_domain: String,
    /// What an API server refuses in the documents: of which object, and what.
    pub refused: Vec<(String, SettingError)>,
    /// What is known of the namespaces.
    pub homes: BTreeMap<String, Home>,
    /// The workloads.
    pub ledger: Ledger,
    /// Whether those are all: not where the pods could not be read.
    pub is_whole: bool,
    /// Whether new pods are told of a shared tier.
    pub has_tier: bool,
    /// Whether every namespace counts as opted in.
    pub as_if_enabled: bool,
}

/// What was looked at.
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
    /// What could not be read.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// Looks, where the settings say.
pub async fn run(settings: &Check) -> Result<Report, Error> {
    if settings.files.is_empty() { live::run(settings).await } else { files::run(settings) }
}

impl Report {
    /// Whether everything is as it was asked for: nothing that is opted in stays as it is, no setting is ignored, no
    /// document is refused, nothing is wrong with the installation.
    pub fn is_fine(&self) -> bool {
        let of_workload =
            |verdict: Verdict| matches!(verdict, Verdict::Not(reason) if reason.is_a_surprise());
        let is_fine =
            |row: &ledger::Row| !of_workload(row.assessment.verdict) && row.assessment.mistakes.is_empty();
        self.refused.is_empty()
            && self.ledger.rows().all(|(_, row)| is_fine(row))
            && self.homes.values().all(|home| assess::of_namespace(home, &self.cluster_domain).is_empty())
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
