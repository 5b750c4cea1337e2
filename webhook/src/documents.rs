//! Documents of Kubernetes in files: YAML, its documents, and the pod templates in them.
//!
//! ```text
//!   split               the text of a file -> its documents, each with its text
//!   yaml                documents <-> JSON values
//!   custom_kinds        where the pod templates of a custom kind are
//!   misplaced_metadata  labels and annotations that have no effect where they are
//! ```
//!
//! This module imports no other module of the crate: `config`, `offline` and `check` read files with it.

pub mod custom_kinds;
pub mod misplaced_metadata;
pub mod split;
pub mod yaml;
