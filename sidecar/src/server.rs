//! What both transports share: a message in; an answer, silence, or a wait for the upstream out.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::limits;
use crate::metrics::{Metrics, Outcome, Transport};
use crate::query::{Query, Rejected};
use crate::reply;
use crate::resolver::Resolver;
use crate::upstream::Upstream;
use crate::wire;

pub mod tcp;
pub mod udp;

/// Serves queries with one resolver, whatever they came by.
#[derive(Debug)]
pub struct Service<U> {
    resolver: Arc<Resolver<U>>,
    metrics: Metrics,
    query_log: bool,
    /// TCP connections that may still be opened, over all listeners.
    connections: Arc<Semaphore>,
}

/// What to do next about a message.
#[derive(Debug)]
pub enum Step {
    /// Send what was written.
    Answer,
    /// Send nothing.
    Silence,
    /// Await [`Service::wait`] and send what it writes.
    Wait(Box<Query>),
}

impl<U: Upstream> Service<U> {
    /// A service on that resolver.
    pub fn new(resolver: Arc<Resolver<U>>, metrics: Metrics, query_log: bool) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(limits::TCP_CONNECTIONS));
        Arc::new(Self { resolver, metrics, query_log, connections })
    }

    /// Answers what can be answered at once: hits, and messages that are no query.
    pub fn step(&self, bytes: &[u8], transport: Transport, now: Instant, out: &mut Vec<u8>) -> Step {
        self.metrics.query(transport);
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(rejected) => return self.reject(bytes, rejected, out),
        };
        if let Some(outcome) = self.resolver.hit(&query, now, limit(&query, transport), out) {
            self.end(&query, transport, outcome);
            return Step::Answer;
        }
        Step::Wait(Box::new(query))
    }

    /// Writes the answer to a query that was not in the cache.
    pub async fn wait(&self, query: &Query, transport: Transport, out: &mut Vec<u8>) {
        let mut ending = Ending { service: self, query, transport, outcome: Outcome::Failed };
        ending.outcome = self.resolver.miss(query, limit(query, transport), out).await;
    }

    fn reject(&self, bytes: &[u8], rejected: Rejected, out: &mut Vec<u8>) -> Step {
        if reply::write_rejection(bytes, rejected, out) {
            self.metrics.outcome(Outcome::Rejected);
            Step::Answer
        } else {
            self.metrics.outcome(Outcome::Dropped);
            Step::Silence
        }
    }

    fn end(&self, query: &Query, transport: Transport, outcome: Outcome) {
        self.metrics.outcome(outcome);
        if self.query_log {
            let (kind, class) = wire::type_and_class(query.question());
            let name = wire::NameText(query.key.name());
            tracing::info!(%name, kind, class, transport = transport.name(), outcome = outcome.name(), "query");
        }
    }
}

/// Counts the outcome of a query that waits, also when its task is dropped or panics: it was not answered then.
struct Ending<'a, U: Upstream> {
    service: &'a Service<U>,
    query: &'a Query,
    transport: Transport,
    outcome: Outcome,
}

impl<U: Upstream> Drop for Ending<'_, U> {
    fn drop(&mut self) {
        self.service.end(self.query, self.transport, self.outcome);
    }
}

/// The largest answer that this client takes.
///
/// | it came by | it says | it gets at most |
/// |---|---|---|
/// | UDP | no EDNS | 512 (RFC 1035 section 4.2.1) |
/// | UDP | EDNS | its payload size, at least 512 (RFC 6891 section 6.2.3), at most 4096 |
/// | TCP | anything | 65,535 |
fn limit(query: &Query, transport: Transport) -> usize {
    match (transport, query.edns) {
        (Transport::Tcp, _) => limits::TCP_MESSAGE,
        (Transport::Udp, None) => limits::UDP_ANSWER_WITHOUT_EDNS,
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.payload_size).clamp(limits::UDP_ANSWER_WITHOUT_EDNS, limits::UDP_ANSWER)
        }
    }
}
