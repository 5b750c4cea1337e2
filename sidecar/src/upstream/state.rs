//! What the exchanges and the probes tell each other: health, budget, and the news that a server is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podlocal_settings::value::UpstreamTransport;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Condition;
use super::budget::Budget;
use super::health::{Health, Standing};
use super::liveness::{Finding, Liveness};
use super::observers::{Event, Observers};
use super::order::{self, Schedule, Step};
use crate::cache::key::Key;
use crate::metrics::{ExchangeResult, Metrics};

/// Shared by every exchange and the task that probes.
#[derive(Debug)]
pub struct State {
    known: Mutex<Known>,
    recovered: watch::Sender<Option<Recovery>>,
    trouble: Notify,
    check_wanted: Notify,
    setup: Setup,
    metrics: Metrics,
    observers: Observers,
}

/// Who the servers are, and how they are asked.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many there are.
    pub servers: usize,
    /// How many of them, the first ones, are the shared tier.
    pub tier: usize,
    /// By what they are asked.
    pub transport: UpstreamTransport,
    /// How long a server is waited for before the next attempt, at least.
    pub shortest_pause: Duration,
}

#[derive(Debug)]
struct Known {
    health: Health,
    budget: Budget,
    liveness: Liveness,
}

/// The servers were down, and one has responded.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// Who responded, and how it had been asked.
    pub step: Step,
    /// When it had been asked. What was asked later may still be answered; what was asked before is lost.
    pub asked_at: Instant,
}

impl State {
    /// All servers are well.
    pub fn new(setup: Setup, metrics: Metrics) -> Self {
        let known = Known {
            health: Health::new(setup.servers, setup.tier, setup.shortest_pause),
            budget: Budget::default(),
            liveness: Liveness::new(setup.tier),
        };
        Self {
            known: Mutex::new(known),
            recovered: watch::Sender::new(None),
            trouble: Notify::new(),
            check_wanted: Notify::new(),
            setup,
            metrics,
            observers: Observers::default(),
        }
    }

    /// An exchange begins: its order of attempts, of which the first is paid for.
    pub fn begun(&self, now: Instant) -> Schedule {
        let mut known = self.lock();
        known.health.begun(now);
        known.budget.first_attempt();
        Schedule::new(order::steps(self.setup.transport, self.setup.tier, &known.health.stepped_back()), now)
    }

    /// A server gave a response, of whatever kind, to what it was asked at that time.
    pub fn responded(&self, step: Step, asked_at: Instant, now: Instant) {
        let were_down = self.lock().health.responded(step.server, now);
        if were_down {
            self.recovered.send_replace(Some(Recovery { step, asked_at }));
        }
    }

    /// How long a server took to respond to a question of a client, and whether it knew the answer.
    pub fn took(&self, server: usize, time: Duration, is_answer: bool) {
        let mut known = self.lock();
        known.health.took(server, time);
        if is_answer && time <= self.setup.shortest_pause {
            known.budget.quick_answer();
        }
    }

    /// A server gave nothing to an exchange that began at `since`.
    pub fn failed(&self, server: usize, since: Instant, now: Instant) {
        self.lock().health.failed(server, since);
        self.look(now);
    }

    /// An attempt has ended: it is counted, its server's last failure remembered, and told to who listens.
    pub fn exchanged(&self, key: &Key, step: Step, result: ExchangeResult, took: Duration, now: Instant) {
        self.metrics.exchange(step.transport, result, took);
        let failure = match result {
            ExchangeResult::Failure | ExchangeResult::Silent | ExchangeResult::Unreachable => Some(result),
            // It had its time.
            ExchangeResult::Overtaken if took >= self.pause(step.server) => Some(ExchangeResult::Silent),
            ExchangeResult::Overtaken | ExchangeResult::Answer | ExchangeResult::Truncated => None,
        };
        if let Some(failure) = failure {
            self.lock().health.note_failure(step.server, failure, now);
        }
        self.observers.note(key, now, || Event::Ended { step, result, took });
    }

    /// Who listens to exchanges.
    pub fn observers(&self) -> &Observers {
        &self.observers
    }

    /// What is known of each server, by its place in the settings.
    pub fn servers(&self) -> Vec<Standing> {
        self.lock().health.standings()
    }

    /// How many attempts beyond the first the retry budget would pay for, in tenths of one.
    pub fn budget_tenths(&self) -> u32 {
        self.lock().budget.tenths()
    }

    /// Wakes the task that probes, if there is a reason to. An exchange that waits calls it when it has waited
    /// for [`crate::limits::SILENCE`].
    pub fn look(&self, now: Instant) {
        if !self.to_probe(now).is_empty() {
            self.trouble.notify_one();
        }
    }

    /// Pays for an attempt beyond the first.
    pub fn take(&self) -> bool {
        let may = self.lock().budget.take();
        if !may {
            self.metrics.budget_exhausted();
        }
        may
    }

    /// How long to wait for a server before the next attempt.
    pub fn pause(&self, server: usize) -> Duration {
        self.lock().health.pause(server)
    }

    /// How the servers are.
    pub fn condition(&self, now: Instant) -> Condition {
        self.lock().health.condition(now)
    }

    /// The servers to probe.
    pub fn to_probe(&self, now: Instant) -> Vec<usize> {
        self.lock().health.to_probe(now)
    }

    /// How many servers of the upstream have stepped back.
    pub fn upstream_stepped_back(&self) -> usize {
        self.lock().health.stepped_back().into_iter().skip(self.setup.tier).filter(|has| *has).count()
    }

    /// Whether each server has stepped back.
    pub fn stepped_back(&self) -> Vec<bool> {
        self.lock().health.stepped_back()
    }

    /// Tells of every recovery from now on.
    pub fn recoveries(&self) -> watch::Receiver<Option<Recovery>> {
        self.recovered.subscribe()
    }

    /// Returns when there may be a reason to probe.
    pub async fn trouble(&self) {
        self.trouble.notified().await;
    }

    /// Asks for a check whether a server of the tier is alive, unless one has begun since then.
    pub fn want_check(&self, server: usize, since: Instant) {
        if self.lock().liveness.want(server, since) {
            self.check_wanted.notify_one();
        }
    }

    /// Waits until a check is wanted, and begins it: of whom, and when.
    pub async fn check_wanted(&self) -> (usize, Instant) {
        loop {
            let now = Instant::now();
            if let Some(server) = self.lock().liveness.begin(now) {
                return (server, now);
            }
            self.check_wanted.notified().await;
        }
    }

    /// What the check of a server that began at that time has found.
    pub fn checked(&self, server: usize, begun_at: Instant, finding: Finding, now: Instant) {
        let mut known = self.lock();
        known.liveness.end(server, finding);
        match finding {
            Finding::Alive => known.health.is_alive(server, now),
            Finding::Shaky => {}
            Finding::Dead => known.health.is_dead(server, begun_at),
        }
        drop(known);
        self.look(now);
    }

    /// A server of the tier has answered a probe. What it was asked before is not known to be lost: it was silent because
    /// it waited, unless everybody was away.
    pub fn tier_responded(&self, step: Step, asked_at: Instant, now: Instant) {
        let mut known = self.lock();
        if known.health.stepped_back().iter().all(|has| *has) {
            drop(known);
            self.responded(step, asked_at, now);
        } else {
            known.health.is_alive(step.server, now);
        }
    }

    /// What a check of a server of the tier that began since then has found; `None`: none has yet.
    pub fn finding(&self, server: usize, since: Instant) -> Option<Finding> {
        self.lock().liveness.finding(server, since)
    }

    /// Whether a server is one of the shared tier.
    pub fn is_of_tier(&self, server: usize) -> bool {
        server < self.setup.tier
    }

    /// How many servers of the tier have stepped back.
    pub fn tier_stepped_back(&self) -> usize {
        self.lock().health.stepped_back().into_iter().take(self.setup.tier).filter(|has| *has).count()
    }

    /// How long a server is waited for before the next attempt, at least.
    pub fn shortest_pause(&self) -> Duration {
        self.setup.shortest_pause
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
