//! Documents of Kubernetes in files: YAML, its documents, and the pod templates in them.
//!
//! ```text
//!   files               the text of a file, or of standard input
//!   split               the text -> its documents, each with its own text
//!   yaml                documents <-> JSON values
//!   kinds               kinds that create pods
//!   pod_templates       the pod templates in an object of any kind
//!   misplaced_metadata  labels and annotations that have no effect where they are
//! ```
//!
//! This module imports no other module of the crate: `config`, `offline` and `check` read files with it.

pub(crate) mod files;
pub(crate) mod kinds;
pub(crate) mod misplaced_metadata;
pub(crate) mod pod_templates;
pub(crate) mod split;
pub mod yaml;
