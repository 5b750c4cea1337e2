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
    pub result: LookupResult,
}

/// One name of the search expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// One report for each record type.
    pub queries: Vec<Report>,
}

/// The result that a program gets from getaddrinfo(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupResult {
    /// The records of the last candidate.
    Found,
    /// The name exists, but has no record of this type: EAI_NODATA.
    NoData,
    /// The name does not exist: EAI_NONAME.
    NoName,
    /// A temporary failure: EAI_AGAIN.
    TryAgain,
    /// A failure after which the C library does not retry: EAI_FAIL.
    Failed,
}

impl From<CandidateResult> for LookupResult {
    fn from(result: CandidateResult) -> Self {
        match result {
            CandidateResult::Record => Self::Found,
            CandidateResult::NoData => Self::NoData,
            CandidateResult::NoName => Self::NoName,
            CandidateResult::Failure => Self::TryAgain,
            CandidateResult::Refusal => Self::Failed,
        }
    }
}
