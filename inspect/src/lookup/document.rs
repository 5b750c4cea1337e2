//! The document that `lookup` prints as JSON, and from which its page is made.

use podlocal_dns::expansion::CandidateResult;
use podlocal_dns::report::Report;
use serde::{Deserialize, Serialize};

/// A lookup: the search expansion of a name, with the report about each query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`docs/lookup.md` describes the fields")]
pub struct Document {
    pub name: String,
    pub types: Vec<String>,
    pub version: String,
    pub search: Vec<String>,
    pub ndots: usize,
    pub source: String,
    pub notes: Vec<String>,
    pub candidates: Vec<Candidate>,
    pub not_tried: Vec<String>,
    pub result: CandidateResult,
}

/// One name of the search expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// One report for each record type.
    pub queries: Vec<Report>,
}
