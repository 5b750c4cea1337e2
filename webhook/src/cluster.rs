//! The tasks that watch the cluster or report to it: what talks to the API server and to cluster DNS beside
//! the reviews. Each task retries without end, and reviews are answered with the last known state.
//!
//! | module | what it does |
//! |---|---|
//! | [`namespaces`], [`limit_ranges`], [`tier`] | watch objects |
//! | [`discovery`], [`dns_checks`] | ask periodically |
//! | [`events`] | publishes notices for the owners of pods |
//!
//! This module imports `review` (the state that it fills, the notices that it publishes), `metrics` and
//! `rate`.

pub mod discovery;
pub(crate) mod dns_checks;
pub(crate) mod events;
pub(crate) mod limit_ranges;
pub(crate) mod namespaces;
pub(crate) mod tier;
