//! What both transports share: a message in; an answer, silence, or a wait for the upstream out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use podlocal_settings::Settings;
use tokio::sync::Semaphore;

use crate::limits;
use crate::metrics::{Metrics, Outcome, Transport};
use crate::query::{Query, Rejected};
use crate::reply;
use crate::resolver::Resolver;
use crate::sources::{Place, Sources};
use crate::upstream::Upstream;
use crate::wire::{self, Rcode};

pub mod tcp;
pub mod udp;

/// Serves queries with one resolver, whatever they came by.
#[derive(Debug)]
pub struct Service<U> {
    resolver: Arc<Resolver<U>>,
    metrics: Metrics,
    sources: Sources,
    query_log: bool,
    max_udp_answer: usize,
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
    Wait(Box<Waiting>),
}

/// A query that waits for its answer, in its source's place.
#[derive(Debug)]
pub struct Waiting {
    query: Query,
    _place: Place,
}

impl<U: Upstream> Service<U> {
    /// A service on that resolver, within the bounds of the settings.
    pub fn new(settings: &Settings, resolver: Arc<Resolver<U>>, metrics: Metrics, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            resolver,
            metrics,
            sources: Sources::new(settings, now),
            query_log: settings.query_log,
            max_udp_answer: settings.max_udp_answer,
            connections: Arc::new(Semaphore::new(settings.max_tcp_connections)),
        })
    }

    /// Answers what can be answered at once: hits, messages that are no query, and misses of a source that has its share.
    pub fn step(
        &self,
        bytes: &[u8],
        source: IpAddr,
        transport: Transport,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Step {
        self.metrics.query(transport);
        if !self.sources.are_answered(source, now) {
            self.metrics.outcome(Outcome::Forbidden);
            return Step::Silence;
        }
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(rejected) => return self.reject(bytes, rejected, out),
        };
        if let Some(outcome) = self.resolver.hit(&query, now, self.limit(&query, transport), out) {
            self.end(&query, transport, outcome);
            return Step::Answer;
        }
        match self.sources.miss(source, self.resolver.free(), now) {
            Ok(place) => Step::Wait(Box::new(Waiting { query, _place: place })),
            Err(limit) => {
                self.metrics.limit_reached(limit);
                reply::write_error(&query, Rcode::SERVFAIL, out);
                self.end(&query, transport, Outcome::Overload);
                Step::Answer
            }
        }
    }

    /// Writes the answer to a query that was not in the cache.
    pub async fn wait(&self, waiting: &Waiting, transport: Transport, out: &mut Vec<u8>) {
        let query = &waiting.query;
        let mut ending = Ending { service: self, query, transport, outcome: Outcome::Failed };
        ending.outcome = self.resolver.miss(query, self.limit(query, transport), out).await;
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

    /// The largest answer that this client takes.
    ///
    /// | it came by | it says | it gets at most |
    /// |---|---|---|
    /// | UDP | no EDNS | 512 (RFC 1035 section 4.2.1) |
    /// | UDP | EDNS | its payload size, at least 512 (RFC 6891 section 6.2.3), at most `max-udp-answer` |
    /// | TCP | anything | 65,535 |
    fn limit(&self, query: &Query, transport: Transport) -> usize {
        match (transport, query.edns) {
            (Transport::Tcp, _) => limits::TCP_MESSAGE,
            (Transport::Udp, None) => limits::UDP_ANSWER_WITHOUT_EDNS,
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.payload_size).clamp(limits::UDP_ANSWER_WITHOUT_EDNS, self.max_udp_answer)
            }
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
