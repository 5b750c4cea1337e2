//! Documents of Kubernetes in files: YAML, its documents, and the pod templates in them.
//!
//! ```text
//!   files               the text of a file, or of standard input
//!   split               the text of a file -> its documents, each with its text
//!   yaml                documents <-> JSON values
//!   objects             the objects of a document; where the pod template of a built-in kind is
//!   custom_kinds        where the pod templates of a custom kind are
//!   misplaced_metadata  labels and annotations that have no effect where they are
//! ```
//!
//! This module imports no other module of the crate: `config`, `offline` and `check` read files with it.

pub(crate) mod custom_kinds;
pub(crate) mod files;
pub(crate) mod misplaced_metadata;
pub(crate) mod objects;
pub(crate) mod split;
pub mod yaml;
