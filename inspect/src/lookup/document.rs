//! The document that `lookup` prints as JSON, and from which its page is made.

use podlocal_dns::expansion::CandidateResult;
use podlocal_dns::report::Report;
use serde::Serialize;

/// A lookup: the search expansion of a name, with the report about each query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The requested name.
    pub name: String,
    /// The requested record types.
    pub types: Vec<String>,
    /// The version of the running proxy.
    pub version: String,
    /// The search list that gave the candidates.
    pub search: Vec<String>,
    /// The `ndots` that gave the candidates.
    pub ndots: usize,
    /// Their source: a file, or the settings of the proxy.
    pub source: String,
    /// Anything unusual, as sentences.
    pub notes: Vec<String>,
    /// The candidates that were queried, in order.
    pub candidates: Vec<Candidate>,
    /// The candidates after the one that ended the search.
    pub not_tried: Vec<String>,
    /// The result that a program gets.
    pub result: LookupResult,
}

/// One name of the search expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// One report for each record type.
    pub queries: Vec<Report>,
}

/// The result that a program gets from getaddrinfo(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
