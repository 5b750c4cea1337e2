//! Answers a query of the command `lookup` in the same way as any other query, and returns how it was
//! answered.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::late::Late;
use super::{Service, Step};
use crate::metrics::{Outcome, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::resolver::explain::QuestionStatus;
use crate::upstream::Upstream;

/// How a query was answered.
#[derive(Debug)]
pub struct ExplainedQuery {
    /// The outcome, as the metrics count it.
    pub outcome: Outcome,
    /// The answer that a client receives over TCP; empty if the sidecar sends none.
    pub answer: Vec<u8>,
    /// The status of the question when the query arrived; `None` if the sidecar does not answer such a
    /// query.
    pub status: Option<QuestionStatus>,
    /// The result of the wait, if the answer was not known immediately.
    pub waited: Option<Resolution>,
    /// The arrival of the query.
    pub started: Instant,
    /// The time from then to the answer.
    pub duration: Duration,
}

impl<U: Upstream> Service<U> {
    /// Answers a query as if the pod had sent it over TCP, and returns how. So the query is counted, may wait
    /// for the upstream, fills the cache, and counts towards the limits of waiting queries.
    pub async fn explain(self: &Arc<Self>, bytes: &[u8]) -> ExplainedQuery {
        let started = Instant::now();
        let now = started.into_std();
        let mut answer = Vec::new();
        let status = Query::parse(bytes).ok().map(|query| self.resolver.question_status(&query.key, now));
        let (outcome, waited) = match self.step(bytes, SOURCE, Transport::Tcp, now, &mut answer) {
            Step::Answer(outcome) => (outcome, None),
            Step::Silence(outcome) => {
                answer.clear();
                (outcome, None)
            }
            Step::Wait(query, _, places) => {
                let late = Late::new(self, &query, places);
                let resolution = late.resolve(SOURCE).await;
                (late.answer(&resolution, &mut answer), Some(resolution))
            }
        };
        ExplainedQuery { outcome, answer, status, waited, started, duration: started.elapsed() }
    }
}

/// The source that the query is counted for.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
