//! The JSON documents that the admin port of the proxy sends to `podlocal-inspect`. `docs/lookup.md` describes
//! their fields. Times are whole microseconds (`_us`) or seconds (`_s`).
//!
//! ```text
//!   Report   how one query was answered      stats   the counters since the start, and the present state
//!   target   the request targets             http    the request, and the response around a document
//!   words    durations and counts in texts
//! ```
#![allow(missing_docs, reason = "`docs/lookup.md` describes the fields")]

use serde::{Deserialize, Serialize};

pub mod http;
pub mod stats;
pub mod target;
pub mod words;

/// How one query was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub rcode: String,
    pub answers: Vec<Answer>,
    pub more_answers: usize,
    pub outcome: String,
    pub answered_by: AnsweredBy,
    pub duration_us: u64,
    pub exchanges: Vec<Exchange>,
    pub steps: Vec<Step>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub name: String,
    pub ttl_s: u32,
    #[serde(rename = "type")]
    pub rtype: String,
    pub data: String,
}

/// The source of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    Rule { rule: String, reason: String },
    Cache { age_s: u32, remaining_s: u32, cached_for: CachedFor },
    Expired { age_s: u32, expired_for_s: u32, reason: String },
    Upstream(Exchange),
    SearchList { name: String, is_coalesced: bool },
    ConcurrentQuery { is_coalesced: bool },
    None { reason: String },
}

/// What a cached answer applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachedFor {
    Question,
    EveryType,
    SearchList,
}

/// One exchange with the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    /// The server whose attempt decided the exchange: the one that answered, or the last one that was
    /// queried. `result` is the result of that attempt.
    pub server: String,
    pub transport: String,
    pub is_shared_tier: bool,
    pub zone: Option<String>,
    pub result: String,
    pub attempts: u32,
    pub duration_us: u64,
    pub is_coalesced: bool,
}

/// One step towards an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at_us: u64,
    pub text: String,
}
