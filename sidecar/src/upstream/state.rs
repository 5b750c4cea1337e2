//! The state of the servers, shared by all exchanges.

use std::sync::{Arc, Mutex, MutexGuard};

use podlocal_dns::key::Key;
use podlocal_dns::upstream::liveness::{Finding, Liveness};
use podlocal_dns::upstream::{Exchange, Policy, Recovery, ServerStatus, Setup, Target, Transmission};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::observers::{Event, Observers};
use super::path::TcpSupport;
use crate::metrics::{AttemptResult, Metrics, ResponseCode, Server};
use crate::supervise::lock;

/// Shared by every exchange.
#[derive(Debug)]
pub struct State {
    inner: Mutex<ServerState>,
    /// Sends every recovery of a server.
    pub recovered: watch::Sender<Option<Recovery>>,
    probe_requested: Notify,
    /// The kinds of the servers.
    pub setup: Setup,
    /// The cluster domain, as a name on the wire.
    pub zone: Vec<u8>,
    /// The metrics in which everything is counted.
    pub metrics: Metrics,
    /// The observers of exchanges.
    pub observers: Observers,
}

/// What changes.
#[derive(Debug)]
pub struct ServerState {
    /// When which server is queried.
    pub policy: Policy,
    /// What probes have found.
    pub liveness: Liveness,
    /// An ejected server, and the question of its trial.
    trial: Option<(usize, Arc<Key>)>,
    /// By server: whether TCP brings the answers that UDP truncates.
    tcp: Vec<TcpSupport>,
    /// By server: when an attempt last failed, and how; shown by `lookup` and `stats`.
    last_failures: Vec<Option<LastFailure>>,
}

/// When an attempt failed, and how.
pub type LastFailure = (Instant, AttemptResult);

/// A query that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The server and the transport.
    pub target: Target,
    /// When it was sent.
    pub at: Instant,
}

/// A server that is to be probed.
#[derive(Debug)]
pub struct Probe {
    /// The index of the server.
    pub server: usize,
    /// When the probing began.
    pub began_at: Instant,
    /// For an ejected server, a question that a client has asked, and that another server answers; for one of
    /// the shared tier `None`: it is probed by questions that it answers by itself.
    pub question: Option<Arc<Key>>,
}

impl State {
    /// All servers start healthy. Each of so many sources of queries has a retry budget; 0: one budget for
    /// all.
    pub fn new(setup: Setup, sources: usize, zone: Vec<u8>, metrics: Metrics) -> Self {
        let inner = ServerState {
            policy: Policy::new(setup).with_sources(sources),
            liveness: Liveness::new(setup.tier),
            trial: None,
            tcp: vec![TcpSupport::default(); setup.servers],
            last_failures: vec![None; setup.servers],
        };
        Self {
            inner: Mutex::new(inner),
            recovered: watch::Sender::new(None),
            probe_requested: Notify::new(),
            setup,
            zone,
            metrics,
            observers: Observers::default(),
        }
    }

    /// The state, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, ServerState> {
        lock(&self.inner)
    }

    /// Begins an exchange for that source of queries, and requests the trial or the probing of an ejected
    /// server if it is due.
    pub fn begin_exchange(
        &self,
        key: &Key,
        source: Option<u16>,
        now: Instant,
        chance: u16,
    ) -> (Exchange, Transmission) {
        let mut inner = self.lock();
        if let Some(server) = inner.policy.take_due_trial(now.into_std()) {
            if self.is_tier_server(server) {
                inner.liveness.request_probe(server, now.into_std());
            } else {
                inner.trial = Some((server, Arc::new(key.clone())));
            }
            self.probe_requested.notify_one();
        }
        inner.policy.begin_exchange_for(source, now.into_std(), chance)
    }

    /// The transmission that is due now, if any.
    pub fn due_transmission(&self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        let mut inner = self.lock();
        let due = inner.policy.due_transmission(exchange, now.into_std());
        self.count_refused(&mut inner);
        due
    }

    /// When [`State::due_transmission`] may have something to do.
    pub fn wakes_at(&self, exchange: &Exchange) -> Instant {
        Instant::from_std(self.lock().policy.wakes_at(exchange))
    }

    /// When an exchange ends without an answer.
    pub fn deadline(&self, exchange: &Exchange) -> Instant {
        Instant::from_std(self.lock().policy.deadline(exchange))
    }

    /// Records the response that ends an attempt; `answered` is the exchange whose answer it is.
    pub fn record_response(
        &self,
        key: &Key,
        sent: Sent,
        response: &[u8],
        result: AttemptResult,
        answered: Option<&Exchange>,
        now: Instant,
    ) {
        let Sent { target: Target { server, .. }, at } = sent;
        let kind = if self.is_tier_server(server) { Server::SharedTier } else { Server::Upstream };
        self.metrics.responses.inc((kind, ResponseCode::of(response)));
        self.record_attempt(key, sent, result, now);
        self.record_sign_of_life(server, at, answered, now);
    }

    /// Records a response with any RCODE to a query of that time, for the health of the server.
    pub fn record_sign_of_life(
        &self,
        server: usize,
        sent_at: Instant,
        answered: Option<&Exchange>,
        now: Instant,
    ) {
        let mut inner = self.lock();
        let recovery = inner.policy.record_response(server, sent_at.into_std(), now.into_std());
        if let Some(exchange) = answered {
            inner.policy.record_answer(exchange, now - sent_at);
        }
        drop(inner);
        if recovery.is_some() {
            self.recovered.send_replace(recovery);
        }
    }

    /// Records the end of an attempt: in the metrics, as the last failure of its server, and for observers.
    pub fn record_attempt(&self, key: &Key, sent: Sent, result: AttemptResult, now: Instant) {
        let (target, took) = (sent.target, now - sent.at);
        self.metrics.attempt(target.transport, result, took);
        if matches!(result, AttemptResult::Failure | AttemptResult::Timeout | AttemptResult::Unreachable)
            && let Some(last) = self.lock().last_failures.get_mut(target.server)
        {
            *last = Some((now, result));
        }
        self.observers.notify(key, now, || Event::AttemptEnded { target, result, took });
    }

    /// Whether a truncated answer of that server is fetched over TCP now.
    pub fn should_try_tcp(&self, server: usize, now: Instant) -> bool {
        self.lock().tcp.get_mut(server).is_none_or(|tcp| tcp.should_try(now.into_std()))
    }

    /// Records whether TCP brought the answer that the server had truncated.
    pub fn record_tcp_fetch(&self, server: usize, is_answer: bool, now: Instant) {
        match self.lock().tcp.get_mut(server) {
            Some(tcp) if is_answer => tcp.record_answer(),
            Some(tcp) => tcp.record_failure(now.into_std()),
            None => {}
        }
    }

    /// The state of each server and its last failure, in the order of the settings.
    pub fn server_statuses(&self) -> Vec<(ServerStatus, Option<LastFailure>)> {
        let inner = self.lock();
        inner.policy.server_statuses().into_iter().zip(inner.last_failures.iter().copied()).collect()
    }

    /// Takes a token from the retry budget; `false`: there is none.
    pub fn try_spend_token(&self) -> bool {
        let mut inner = self.lock();
        let may = inner.policy.try_spend_token();
        self.count_refused(&mut inner);
        may
    }

    fn count_refused(&self, inner: &mut ServerState) {
        self.metrics.budget_exhausted.inc_by(inner.policy.take_refused_retransmissions().into());
    }

    /// Requests the probing of a tier server, unless one has started at `since` or later.
    pub fn request_probe(&self, server: usize, since: std::time::Instant) {
        if self.lock().liveness.request_probe(server, since) {
            self.probe_requested.notify_one();
        }
    }

    /// Waits until a probing is requested, and begins it.
    pub async fn next_probe(&self) -> Probe {
        loop {
            if let Some(probe) = self.begin_probe(Instant::now()) {
                return probe;
            }
            self.probe_requested.notified().await;
        }
    }

    fn begin_probe(&self, began_at: Instant) -> Option<Probe> {
        let mut inner = self.lock();
        if let Some(server) = inner.liveness.begin_probe(began_at.into_std()) {
            return Some(Probe { server, began_at, question: None });
        }
        let (server, key) = inner.trial.take()?;
        Some(Probe { server, began_at, question: Some(key) })
    }

    /// Records what the probing of a server that began at that time has found.
    pub fn record_probe(&self, server: usize, began_at: Instant, finding: Finding, now: Instant) {
        let mut inner = self.lock();
        inner.liveness.end_probe(server, finding);
        inner.policy.record_probe(server, finding, began_at.into_std(), now.into_std());
    }

    /// Whether a server belongs to the shared tier.
    pub fn is_tier_server(&self, server: usize) -> bool {
        server < self.setup.tier
    }
}
