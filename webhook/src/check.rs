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
pub mod report;
pub mod requests;
pub mod selectors;
pub mod templates;
pub mod text;
pub mod tier_usage;
pub mod workload;

use crate::config::Check;
use report::{Error, Report};

/// Checks the documents or the cluster of the settings.
pub async fn run(settings: &Check) -> Result<Report, Error> {
    if settings.files.is_empty() { live::run(settings).await } else { files::run(settings) }
}
