//! The JSON documents that the admin port of the proxy sends to `podlocal-inspect`. `docs/lookup.md` describes
//! their fields. Times are whole microseconds (`_us`) or seconds (`_s`).
//!
//! ```text
//!   Report   how one query was answered      stats   the counters since the start, and the present state
//!   target   the request targets             http    the request, and the response around a document
//!   words    durations and counts in texts
//! ```

use serde::{Deserialize, Serialize};

pub mod http;
pub mod stats;
pub mod target;
pub mod words;

/// How one query was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The queried name, with its final dot.
    pub name: String,
    /// The queried record type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The RCODE of the answer, or `none` if there was no answer.
    pub rcode: String,
    /// The first records of the answer, as many as the proxy reports at most.
    pub answers: Vec<Answer>,
    /// The number of records that are not in `answers`.
    pub more_answers: usize,
    /// How the query was counted: the label `outcome` of the metrics.
    pub outcome: String,
    /// The source of the answer.
    pub answered_by: AnsweredBy,
    /// The time from the query to the answer.
    pub duration_us: u64,
    /// The exchanges with the upstream that this query may depend on, in order.
    pub exchanges: Vec<Exchange>,
    /// Every step towards the answer, in order.
    pub steps: Vec<Step>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The owner name.
    pub name: String,
    /// The TTL that a client receives.
    pub ttl_s: u32,
    /// The record type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The data in the presentation format of master files.
    pub data: String,
}

/// The source of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A rule of the sidecar. No server was queried, or only for a parent of the name.
    Rule {
        /// R1 to R5, or `probe`.
        rule: String,
        /// What the rule says.
        reason: String,
    },
    /// The cache.
    Cache {
        /// The time since the answer arrived.
        age_s: u32,
        /// The time until the answer expires.
        remaining_s: u32,
        /// What the cached answer applies to.
        cached_for: CachedFor,
    },
    /// An expired answer from the cache.
    Expired {
        /// The time since the answer arrived.
        age_s: u32,
        /// The time since the answer expired.
        expired_for_s: u32,
        /// Why an expired answer was sent.
        reason: String,
    },
    /// A server.
    Upstream(Exchange),
    /// The search expansion in the sidecar: the answer is that of another name.
    SearchList {
        /// That other name.
        name: String,
        /// Whether the query waited for a search expansion that another client had started.
        is_coalesced: bool,
    },
    /// The answer to another query, which arrived while this query waited.
    ConcurrentQuery {
        /// Whether the query waited for an exchange that another client had started.
        is_coalesced: bool,
    },
    /// There was no answer, or an error.
    None {
        /// Why.
        reason: String,
    },
}

/// What a cached answer applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachedFor {
    /// Exactly this question.
    Question,
    /// Every record type of the name: NXDOMAIN.
    EveryType,
    /// This question, as the result of a search expansion.
    SearchList,
}

/// One exchange with the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The queried name.
    pub name: String,
    /// The queried record type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The server whose attempt decided the exchange: the one that answered, or the last one that was
    /// queried.
    pub server: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// Whether that server belongs to the shared tier.
    pub is_shared_tier: bool,
    /// The forward zone of that server, if it has one.
    pub zone: Option<String>,
    /// The result of that attempt: the label `result` of the metrics, or `in_flight`.
    pub result: String,
    /// The number of attempts at all servers.
    pub attempts: u32,
    /// The time from the first attempt to the end.
    pub duration_us: u64,
    /// Whether another client had started the exchange.
    pub is_coalesced: bool,
}

/// One step towards an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The time since the query.
    pub at_us: u64,
    /// The step in words, which may change with any version.
    pub text: String,
}

#[cfg(test)]
mod tests;
