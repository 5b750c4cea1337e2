//! The state of the servers, shared by all exchanges.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::backup::BackupAnswer;
use podlocal_dns::upstream::guard::{Guard, GuardAction};
use podlocal_dns::upstream::liveness::{Finding, Liveness};
use podlocal_dns::upstream::{
    Condition, Exchange, Policy, Recovery, ServerStatus, Setup, Target, Transmission,
};
use podlocal_settings::value::UpstreamTransport;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::observers::{Event, Observers};
use super::path::TcpSupport;
use crate::metrics::{AttemptResult, Metrics};

/// Shared by every exchange.
#[derive(Debug)]
pub struct State {
    inner: Mutex<Inner>,
    recovered: watch::Sender<Option<Recovery>>,
    recoveries: AtomicU32,
    recovery_notify: Arc<Notify>,
    probe_requested: Notify,
    setup: Setup,
    /// The cluster domain.
    zone: Vec<u8>,
    metrics: Metrics,
    observers: Observers,
}

#[derive(Debug)]
struct Inner {
    policy: Policy,
    liveness: Liveness,
    /// An ejected server, and the question of its trial.
    trial: Option<(usize, Arc<Key>)>,
    /// By server: whether TCP brings the answers that UDP truncates.
    tcp: Vec<TcpSupport>,
    /// By server: when an attempt last failed, and how; shown by `lookup` and `stats`.
    last_failures: Vec<Option<LastFailure>>,
}

/// When an attempt failed, and how.
pub type LastFailure = (Instant, AttemptResult);

/// A server that is to be probed.
#[derive(Debug)]
pub enum Probe {
    /// One of the shared tier: by questions that it answers by itself.
    Tier {
        /// The index of the server.
        server: usize,
        /// When the probing began.
        began_at: Instant,
    },
    /// An ejected server: by a question that a client has asked, and that another server answers.
    Trial {
        /// The index of the server.
        server: usize,
        /// The question.
        key: Arc<Key>,
        /// When the trial began.
        began_at: Instant,
    },
}

impl State {
    /// All servers start healthy. Each of so many sources of queries has a retry budget; 0: one budget for
    /// all.
    pub fn new(setup: Setup, sources: usize, zone: Vec<u8>, metrics: Metrics) -> Self {
        let inner = Inner {
            policy: Policy::new(setup).with_sources(sources),
            liveness: Liveness::new(setup.tier),
            trial: None,
            tcp: vec![TcpSupport::default(); setup.servers],
            last_failures: vec![None; setup.servers],
        };
        Self {
            inner: Mutex::new(inner),
            recovered: watch::Sender::new(None),
            recoveries: AtomicU32::new(0),
            recovery_notify: Arc::default(),
            probe_requested: Notify::new(),
            setup,
            zone,
            metrics,
            observers: Observers::default(),
        }
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
        inner.policy.begin_exchange(source, now.into_std(), chance)
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

    /// Whether that answer of a backup server counts as the answer.
    pub fn accepts_backup_answer(&self, answer: BackupAnswer, now: Instant) -> bool {
        self.lock().policy.accepts_backup_answer(answer, now.into_std())
    }

    /// Records that the answer of a backup server does not count; returns the transmission to the next
    /// server.
    pub fn next_after_denial(
        &self,
        exchange: &mut Exchange,
        server: usize,
        now: Instant,
    ) -> Option<Transmission> {
        self.lock().policy.next_after_denial(exchange, server, now.into_std())
    }

    /// Records that a server refuses a query although an earlier transmission may still be answered.
    pub fn record_refusal(&self, exchange: &Exchange, server: usize, now: Instant) {
        self.lock().policy.record_refusal(exchange, server, now.into_std());
    }

    /// Records that a server refuses connections; returns the transmission to the next server.
    pub fn next_after_refusal(
        &self,
        exchange: &mut Exchange,
        server: usize,
        now: Instant,
    ) -> Option<Transmission> {
        self.lock().policy.next_after_refusal(exchange, server, now.into_std())
    }

    /// Stops an exchange from querying a server; returns the transmission to the next server.
    pub fn leave(&self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        self.lock().policy.leave(exchange, server, now.into_std())
    }

    /// Records a response with any RCODE to a transmission of that time; `answered` is the exchange whose
    /// answer it is.
    pub fn record_response(
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
            self.recoveries.fetch_add(1, Ordering::Release);
            self.recovery_notify.notify_waiters();
        }
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

    /// Records the end of an attempt: in the metrics, as the last failure of its server, and for observers.
    pub fn record_attempt(
        &self,
        key: &Key,
        target: Target,
        result: AttemptResult,
        took: Duration,
        now: Instant,
    ) {
        self.metrics.attempt(target.transport, result, took);
        if matches!(result, AttemptResult::Failure | AttemptResult::Timeout | AttemptResult::Unreachable)
            && let Some(last) = self.lock().last_failures.get_mut(target.server)
        {
            *last = Some((now, result));
        }
        self.observers.notify(key, now, || Event::AttemptEnded { target, result, took });
    }

    /// The observers of exchanges.
    pub fn observers(&self) -> &Observers {
        &self.observers
    }

    /// The state of each server and its last failure, in the order of the settings.
    pub fn server_statuses(&self) -> Vec<(ServerStatus, Option<LastFailure>)> {
        let inner = self.lock();
        inner.policy.server_statuses().into_iter().zip(inner.last_failures.iter().copied()).collect()
    }

    /// The retry budget, in tenths of a retransmission.
    pub fn budget_tenths(&self) -> u32 {
        self.lock().policy.budget_tenths()
    }

    /// Takes a token from the retry budget; `false`: there is none.
    pub fn try_spend_token(&self) -> bool {
        let mut inner = self.lock();
        let may = inner.policy.try_spend_token();
        self.count_refused(&mut inner);
        may
    }

    fn count_refused(&self, inner: &mut Inner) {
        self.metrics.budget_exhausted.inc_by(inner.policy.take_refused_retransmissions().into());
    }

    /// Whether a query that no client waits for may be sent now.
    pub fn may_refresh(&self, now: Instant) -> bool {
        self.lock().policy.may_refresh(now.into_std())
    }

    /// The health of all servers together.
    pub fn condition(&self, now: Instant) -> Condition {
        self.lock().policy.condition(now.into_std())
    }

    /// Whether each server is ejected.
    pub fn ejected(&self) -> Vec<bool> {
        self.lock().policy.ejected()
    }

    /// The last recovery, if there was one since `since`.
    pub fn recovery_since(&self, since: u32) -> Option<Recovery> {
        if self.recovery_count() == since { None } else { *self.recovered.borrow() }
    }

    /// Notified after every recovery.
    pub fn recovery_notify(&self) -> &Arc<Notify> {
        &self.recovery_notify
    }

    /// How many recoveries there have been.
    pub fn recovery_count(&self) -> u32 {
        self.recoveries.load(Ordering::Acquire)
    }

    /// Receives every recovery from now on.
    pub fn recoveries(&self) -> watch::Receiver<Option<Recovery>> {
        self.recovered.subscribe()
    }

    /// Requests the probing that is due for a silent server of the tier; returns the server if the exchange is
    /// to leave it.
    pub fn check_guard(&self, guard: &mut Guard, now: Instant, chance: u16) -> Option<usize> {
        match guard.due_action(&mut self.lock().liveness, now.into_std(), chance)? {
            GuardAction::Probe => self.probe_requested.notify_one(),
            GuardAction::Leave(server) => return Some(server),
        }
        None
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
            return Some(Probe::Tier { server, began_at });
        }
        let (server, key) = inner.trial.take()?;
        Some(Probe::Trial { server, key, began_at })
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

    /// Whether a server is a backup server, which may know other names.
    pub fn is_backup(&self, server: usize) -> bool {
        self.setup.is_backup(server)
    }

    /// The cluster domain, as a name on the wire.
    pub fn zone(&self) -> &[u8] {
        &self.zone
    }

    /// The transports of the settings.
    pub fn transport(&self) -> UpstreamTransport {
        self.setup.transport
    }

    /// The metrics in which everything is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is a sequence of assignments of plain numbers; a panic between two does no harm.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
