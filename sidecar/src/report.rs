//! What the proxy tells the commands `lookup` and `stats` about itself, over the admin port: JSON documents,
//! whose fields `docs/lookup.md` explains. Times are whole microseconds (`_us`) or seconds (`_s`).

use serde::Serialize;

pub mod figures;
pub mod read;
pub mod target;

/// What became of one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name that was asked for, with its final dot.
    pub name: String,
    /// The type of the question.
    #[serde(rename = "type")]
    pub kind: String,
    /// The answer's RCODE.
    pub rcode: String,
    /// The records of the answer, the first ones of many.
    pub answers: Vec<Answer>,
    /// How many more there are.
    pub more_answers: usize,
    /// How the query was counted: the label of `podlocal_dns_query_outcomes_total`.
    pub outcome: String,
    /// Who answered.
    pub by: By,
    /// From the question to the answer.
    pub took_us: u64,
    /// What was asked of the upstream for it meanwhile, in order.
    pub exchanges: Vec<Exchange>,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Its name.
    pub name: String,
    /// How long a client may keep it.
    pub ttl_s: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its data as master files write it.
    pub data: String,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A rule of the proxy; nobody was asked, or only about a name above.
    Rule {
        /// R1 to R5, or `probe`.
        rule: String,
        /// What the rule says.
        because: String,
    },
    /// The cache.
    Cache {
        /// How long ago the answer came.
        age_s: u32,
        /// How long it may still be given.
        remaining_s: u32,
        /// What it is an answer to.
        place: Place,
    },
    /// An answer whose life is over.
    Expired {
        /// How long ago it came.
        age_s: u32,
        /// How long ago its life was over.
        expired_for_s: u32,
        /// Why it is given all the same.
        because: String,
    },
    /// A server.
    Upstream(Exchange),
    /// The search list, tried in the proxy: the answer is that of another name.
    SearchList {
        /// That name.
        name: String,
        /// Whether another client's walk through the list was waited for.
        is_coalesced: bool,
    },
    /// An answer that another question brought meanwhile.
    ConcurrentQuery {
        /// Whether another client's question was waited for.
        is_coalesced: bool,
    },
    /// Nobody.
    None {
        /// Why.
        because: String,
    },
}

/// What a cached answer is an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This question.
    Question,
    /// Any type of this name: there is no such name.
    EveryType,
    /// What the search list made of this question.
    SearchList,
}

/// One exchange with the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// The name that was asked for.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The server that decided it: who answered, or who was tried last.
    pub server: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// Whether that server is of the shared tier.
    pub is_shared_tier: bool,
    /// The forward zone whose server it is, if it is one.
    pub zone: Option<String>,
    /// How its attempt ended: the label of `podlocal_dns_upstream_attempts_total`, or `in_flight`.
    pub result: String,
    /// How many attempts there were, at all servers.
    pub attempts: u32,
    /// From the first attempt to the end.
    pub took_us: u64,
    /// Whether it had been started for another client.
    pub is_coalesced: bool,
}

/// Something that was done for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How long after the question.
    pub at_us: u64,
    /// What, in words.
    pub what: String,
}
