//! `podlocal-webhook check`: reports what the webhook would do to workloads, why, and what that saves.
//! Changes nothing.
//!
//! ```text
//!   files | live -> ledger -> assess -> selectors, crate::review::mutate   one pod of each workload
//!           live -> installation -> webhook_settings               is the webhook installed and healthy?
//!                            assess -> diff, estimate              what changes, and what a lookup costs
//!   report -> text | json
//! ```
//!
//! The decisions are those of a review: the label selectors of the webhook configuration, then
//! [`crate::review::mutate`].

pub mod api;
mod assess;
mod diff;
pub mod estimate;
mod files;
mod finding;
mod installation;
mod invalid_fields;
pub mod json;
mod ledger;
mod live;
mod progress;
mod reason;
mod report;
mod requests;
mod selectors;
mod templates;
pub mod text;
mod tier_usage;
mod webhook_settings;
mod workload;

use crate::config::Check;
use report::{Error, Report};

/// Checks the documents or the cluster of the settings.
pub async fn run(settings: &Check) -> Result<Report, Error> {
    if settings.files.is_empty() { live::run(settings).await } else { files::run(settings) }
}
