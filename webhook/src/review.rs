//! From the bytes of an admission review to the bytes of its response. Pure: no client, no clock, no socket.
//!
//! ```text
//!   admission      bytes -> response; decides what a failure of the webhook means for a pod
//!     mutate       one pod, from a review or from a file
//!       decide     inject, correct, replace or skip; the truth table is there
//!         annotations, dns, qos, limits, restored     the parts of that decision
//!       inject     the edits of the pod, recorded by patch
//!       reinvocation                                  what other injectors may have changed since
//!     notice       what the owner of the pod is told
//!     outcome, skip                                  how it ended, with the texts and labels
//!   cluster_state  what is known of the cluster: an input of every decision
//! ```
//!
//! This module imports no other module of the crate. `cluster` fills [`cluster_state`] and publishes [`notice`].

pub mod admission;
pub(crate) mod annotations;
pub mod cluster_state;
pub(crate) mod decide;
pub mod dns;
mod inject;
pub mod limits;
pub mod mutate;
pub mod names;
pub mod namespace;
mod nested_runtime;
pub(crate) mod notice;
pub mod outcome;
pub(crate) mod patch;
mod qos;
pub(crate) mod reinvocation;
mod restored;
pub mod skip;
