//! The policy and what its exchanges tell each other, shared by all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podlocal_dns::upstream::backup::Answer;
use podlocal_dns::upstream::liveness::{Finding, Liveness};
use podlocal_dns::upstream::{Condition, Exchange, Policy, Recovery, Setup, Standing, Step, Transmission};
use podlocal_settings::value::UpstreamTransport;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::observers::{Event, Observers};
use super::path::Tcp;
use super::source;
use crate::cache::key::Key;
use crate::metrics::{AttemptResult, Metrics};

/// Shared by every exchange.
#[derive(Debug)]
pub struct State {
    known: Mutex<Known>,
    recovered: watch::Sender<Option<Recovery>>,
    check_wanted: Notify,
    setup: Setup,
    /// The cluster domain.
    zone: Vec<u8>,
    metrics: Metrics,
    observers: Observers,
}

#[derive(Debug)]
struct Known {
    policy: Policy,
    liveness: Liveness,
    /// An ejected server, and the question that it is to be sent as well.
    trial: Option<(usize, Arc<Key>)>,
    /// By server: whether TCP brings what UDP truncates.
    tcp: Vec<Tcp>,
    /// By server: when an attempt last brought nothing or an error, and which; for people.
    last_failures: Vec<Option<Failure>>,
}

/// When an attempt brought nothing or an error, and which.
pub type Failure = (Instant, AttemptResult);

/// A server of which it is to be found out whether it answers.
#[derive(Debug)]
pub enum Check {
    /// One of the shared tier: by questions that it answers by itself.
    Tier {
        /// Its place in the settings.
        server: usize,
        /// When the check began.
        begun_at: Instant,
    },
    /// An ejected one: by a question that a client has asked, and another server answers.
    Trial {
        /// Its place in the settings.
        server: usize,
        /// The question.
        key: Arc<Key>,
        /// When the trial began.
        begun_at: Instant,
    },
}

impl State {
    /// All servers are healthy. So many sources of questions have a retry budget each; 0: there is one for all.
    pub fn new(setup: Setup, sources: usize, zone: Vec<u8>, metrics: Metrics) -> Self {
        let known = Known {
            policy: Policy::new(setup).for_sources(sources),
            liveness: Liveness::new(setup.tier),
            trial: None,
            tcp: vec![Tcp::default(); setup.servers],
            last_failures: vec![None; setup.servers],
        };
        Self {
            known: Mutex::new(known),
            recovered: watch::Sender::new(None),
            check_wanted: Notify::new(),
            setup,
            zone,
            metrics,
            observers: Observers::default(),
        }
    }

    /// A question is asked. The return of an ejected server is looked for on that occasion.
    pub fn begin(&self, key: &Key, now: Instant, chance: u16) -> (Exchange, Transmission) {
        let mut known = self.lock();
        if let Some(server) = known.policy.trial(now.into_std()) {
            if self.is_of_tier(server) {
                known.liveness.want(server, now.into_std());
            } else {
                known.trial = Some((server, Arc::new(key.clone())));
            }
            self.check_wanted.notify_one();
        }
        known.policy.begin_for(source::current(), now.into_std(), chance)
    }

    /// The transmission that is due now.
    pub fn due(&self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        let mut known = self.lock();
        let due = known.policy.due(exchange, now.into_std());
        self.count_refused(&mut known);
        due
    }

    /// When something may be due.
    pub fn wakes_at(&self, exchange: &Exchange) -> Instant {
        Instant::from_std(self.lock().policy.wakes_at(exchange))
    }

    /// When an exchange gives up.
    pub fn deadline(&self, exchange: &Exchange) -> Instant {
        Instant::from_std(self.lock().policy.deadline(exchange))
    }

    /// Whether that answer of a backup server is one.
    pub fn is_believed(&self, answer: Answer, now: Instant) -> bool {
        self.lock().policy.is_believed(answer, now.into_std())
    }

    /// A backup server has answered what is not believed: the transmission to the next one.
    pub fn denied(&self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        self.lock().policy.denied(exchange, server, now.into_std())
    }

    /// A server refuses a question that it may still answer.
    pub fn refuses(&self, exchange: &Exchange, server: usize, now: Instant) {
        self.lock().policy.refuses(exchange, server, now.into_std());
    }

    /// A server refuses connections: the transmission to the next one.
    pub fn refused(&self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        self.lock().policy.refused(exchange, server, now.into_std())
    }

    /// A server is asked no more by this exchange: the transmission to the next one.
    pub fn leave(&self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        self.lock().policy.leave(exchange, server, now.into_std())
    }

    /// A server gave a response, of whatever kind, to what it was asked at that time; the exchange whose answer it is.
    pub fn responded(&self, server: usize, asked_at: Instant, answered: Option<&Exchange>, now: Instant) {
        let mut known = self.lock();
        let recovery = known.policy.responded(server, asked_at.into_std(), now.into_std());
        if let Some(exchange) = answered {
            known.policy.answered(exchange, now - asked_at);
        }
        drop(known);
        if recovery.is_some() {
            self.recovered.send_replace(recovery);
        }
    }

    /// Whether what that server truncated is fetched over TCP now.
    pub fn is_tcp_tried(&self, server: usize, now: Instant) -> bool {
        self.lock().tcp.get_mut(server).is_none_or(|tcp| tcp.is_tried(now.into_std()))
    }

    /// A connection to that server brought what it had truncated, or nothing.
    pub fn fetched_over_tcp(&self, server: usize, is_answer: bool, now: Instant) {
        match self.lock().tcp.get_mut(server) {
            Some(tcp) if is_answer => tcp.answered(),
            Some(tcp) => tcp.failed(now.into_std()),
            None => {}
        }
    }

    /// An attempt has ended: it is counted, its server's last failure remembered, and observers are told.
    pub fn exchanged(&self, key: &Key, step: Step, result: AttemptResult, took: Duration, now: Instant) {
        self.metrics.attempt(step.transport, result, took);
        if matches!(result, AttemptResult::Failure | AttemptResult::Timeout | AttemptResult::Unreachable)
            && let Some(last) = self.lock().last_failures.get_mut(step.server)
        {
            *last = Some((now, result));
        }
        self.observers.note(key, now, || Event::Ended { step, result, took });
    }

    /// Who listens to exchanges.
    pub fn observers(&self) -> &Observers {
        &self.observers
    }

    /// What is known of each server, by its place in the settings, with its last failure.
    pub fn standings(&self) -> Vec<(Standing, Option<Failure>)> {
        let known = self.lock();
        known.policy.standings().into_iter().zip(known.last_failures.iter().copied()).collect()
    }

    /// The retry budget, in tenths of a transmission.
    pub fn budget_tenths(&self) -> u32 {
        self.lock().policy.budget_tenths()
    }

    /// Takes a token from the retry budget; `false`: there is none.
    pub fn try_spend_token(&self) -> bool {
        let mut known = self.lock();
        let may = known.policy.try_spend_token();
        self.count_refused(&mut known);
        may
    }

    fn count_refused(&self, known: &mut Known) {
        for _ in 0..known.policy.take_refused_retransmissions() {
            self.metrics.budget_exhausted();
        }
    }

    /// Whether a question that no client waits for may be asked now.
    pub fn may_refresh(&self, now: Instant) -> bool {
        self.lock().policy.may_refresh(now.into_std())
    }

    /// How the servers are.
    pub fn condition(&self, now: Instant) -> Condition {
        self.lock().policy.condition(now.into_std())
    }

    /// Whether each server is ejected.
    pub fn ejected(&self) -> Vec<bool> {
        self.lock().policy.ejected()
    }

    /// Tells of every recovery from now on.
    pub fn recoveries(&self) -> watch::Receiver<Option<Recovery>> {
        self.recovered.subscribe()
    }

    /// Asks for a check whether a server of the tier is alive, unless one has begun since then.
    pub fn want_check(&self, server: usize, since: std::time::Instant) {
        if self.lock().liveness.want(server, since) {
            self.check_wanted.notify_one();
        }
    }

    /// Waits until a check is wanted, and begins it.
    pub async fn check_wanted(&self) -> Check {
        loop {
            if let Some(check) = self.begin_check(Instant::now()) {
                return check;
            }
            self.check_wanted.notified().await;
        }
    }

    fn begin_check(&self, begun_at: Instant) -> Option<Check> {
        let mut known = self.lock();
        if let Some(server) = known.liveness.begin(begun_at.into_std()) {
            return Some(Check::Tier { server, begun_at });
        }
        let (server, key) = known.trial.take()?;
        Some(Check::Trial { server, key, begun_at })
    }

    /// What the check of a server that began at that time has found.
    pub fn checked(&self, server: usize, begun_at: Instant, finding: Finding, now: Instant) {
        let mut known = self.lock();
        known.liveness.end(server, finding);
        match finding {
            Finding::Alive => known.policy.is_alive(server, now.into_std()),
            Finding::Shaky => {}
            Finding::Dead => known.policy.is_dead(server, begun_at.into_std(), now.into_std()),
        }
    }

    /// What a check of a server of the tier that began since then has found; `None`: none has yet.
    pub fn finding(&self, server: usize, since: std::time::Instant) -> Option<Finding> {
        self.lock().liveness.finding(server, since)
    }

    /// Whether a server belongs to the shared tier.
    pub fn is_of_tier(&self, server: usize) -> bool {
        server < self.setup.tier
    }

    /// Whether a server may know other names than the first ones.
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

    /// Where everything is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment after another of plain numbers; a panic between two does no harm.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
