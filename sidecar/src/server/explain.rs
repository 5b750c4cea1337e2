//! A query that a person asks and wants explained: the same way as any other, and what is learnt on it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ending, Service, Step};
use crate::cache::entry::Entry;
use crate::flight::Role;
use crate::metrics::{Outcome, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::resolver::explain::Standing;
use crate::upstream::Upstream;

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
    /// Answers a query and tells how: the same way as one that comes by TCP from the pod itself, so it is counted, may wait
    /// for the upstream, warms the cache and takes its place among those who wait.
    pub async fn explain(&self, bytes: &[u8]) -> Explained {
        let begun = Instant::now();
        let now = begun.into_std();
        let mut answer = Vec::new();
        let standing = Query::parse(bytes).ok().map(|query| self.resolver.standing(&query.key, now));
        let (outcome, waited) = match self.step(bytes, SOURCE, Transport::Tcp, now, &mut answer) {
            Step::Answer(outcome) => (outcome, None),
            Step::Silence(outcome) => {
                answer.clear();
                (outcome, None)
            }
            Step::Wait(query, _places) => {
                let ending = Ending::of(self, &*query, Transport::Tcp);
                let resolution = self.resolve(&Arc::new(query.key.clone()), SOURCE).await;
                self.metrics.waited(begun.elapsed());
                let outcome = ending.write(&resolution, true, &mut answer);
                (outcome, Some(resolution.into()))
            }
        };
        Explained { outcome, answer, standing, waited, begun, took: begun.elapsed() }
    }
}

/// Where the query would have come from.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl From<Resolution> for Waited {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Fresh(_, role) => Self::Fresh(role),
            Resolution::Stale(entry) => Self::Stale(entry),
            Resolution::Overload | Resolution::Failed(_) => Self::InVain,
        }
    }
}
