//! A query that a person asks and wants explained: the same way as any other, and what is learnt on it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ending, Service};
use crate::cache::entry::Entry;
use crate::flight::Role;
use crate::limits;
use crate::metrics::{Outcome, Transport};
use crate::query::Query;
use crate::reply;
use crate::resolver::Resolution;
use crate::resolver::explain::Standing;
use crate::upstream::Upstream;
use crate::wire::Rcode;

/// What became of a query.
#[derive(Debug)]
pub struct Explained {
    /// How it ended, as it was counted.
    pub outcome: Outcome,
    /// The answer as a client gets it by TCP; empty: silence.
    pub answer: Vec<u8>,
    /// What was known of the question when it came; `None`: it was no query that we answer.
    pub standing: Option<Standing>,
    /// How the answer came, where it was not known.
    pub waited: Option<Waited>,
    /// When the query came.
    pub begun: Instant,
    /// From then to the answer.
    pub took: Duration,
}

/// How an answer came that was waited for.
#[derive(Debug)]
pub enum Waited {
    /// By an exchange that this query started or found under way.
    Fresh(Role),
    /// An expired one was given instead.
    Stale(Entry),
    /// None came.
    InVain,
}

impl<U: Upstream> Service<U> {
    /// Answers a query and tells how. It is counted like one that comes by TCP, may wait for the upstream, warms the
    /// cache and takes its place among those who wait. Whether its source is answered is not asked: whoever comes to the
    /// admin port over the loopback stands inside the pod.
    pub async fn explain(&self, bytes: &[u8]) -> Explained {
        let begun = Instant::now();
        let now = begun.into_std();
        let mut answer = Vec::new();
        self.metrics.query(Transport::Tcp);
        let explained = |outcome, answer, standing, waited| {
            let took = begun.elapsed();
            Explained { outcome, answer, standing, waited, begun, took }
        };
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(rejected) => {
                self.reject(bytes, rejected, &mut answer);
                let outcome = if answer.is_empty() { Outcome::Dropped } else { Outcome::Rejected };
                return explained(outcome, answer, None, None);
            }
        };
        let standing = Some(self.resolver.standing(&query.key, now));
        let at_once = self.resolver.hit(&query, now, limits::TCP_MESSAGE, &mut answer).or_else(|| {
            let is_loop = self.resolver.is_loop(&query);
            is_loop.then(|| servfail(&query, Outcome::Loop, &mut answer))
        });
        if let Some(outcome) = at_once {
            self.end(&query.client(), Transport::Tcp, outcome);
            return explained(outcome, answer, standing, None);
        }
        let _places = match self.places(SOURCE, now) {
            Ok(places) => places,
            Err(refused) => {
                self.metrics.limit_reached(refused.limit);
                let outcome = servfail(&query, Outcome::Overload, &mut answer);
                self.end(&query.client(), Transport::Tcp, outcome);
                return explained(outcome, answer, standing, None);
            }
        };
        let ending = Ending::of(self, &query, Transport::Tcp);
        let resolution = self.resolve(&Arc::new(query.key.clone())).await;
        let outcome = ending.write(&resolution, true, &mut answer);
        explained(outcome, answer, standing, Some(resolution.into()))
    }
}

fn servfail(query: &Query, outcome: Outcome, answer: &mut Vec<u8>) -> Outcome {
    reply::write_error(query, Rcode::SERVFAIL, answer);
    outcome
}

/// Where the query would have come from.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl From<Resolution> for Waited {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Fresh(_, role) => Self::Fresh(role),
            Resolution::Stale(entry) => Self::Stale(entry),
            Resolution::Overload | Resolution::Failed => Self::InVain,
        }
    }
}
