//! A sidecar, or a replica of the shared tier. Both do what the sidecar's `upstream/race.rs` and
//! `upstream/probe.rs` do, with the same policy.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard, GuardAction, PROBE_TIMEOUT};
use podlocal_dns::upstream::liveness::{Finding, Liveness};
use podlocal_dns::upstream::{Exchange, Policy, Recovery, Setup, Target, Transmission, Transport};
use podlocal_settings::value::UpstreamTransport;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::{Message, Model};
use crate::simulation::Arm;
use crate::simulation::plan::Question;

/// The time for which a failure is cached (RFC 9520).
const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// The number of transmissions of one exchange whose answers are accepted.
const LISTENING: usize = 6;

/// The number of probes at a time.
const PROBES: usize = 5;

/// One process.
pub(super) struct Proxy {
    /// Whether queries are retransmitted by the policy; otherwise each is sent once.
    has_policy: bool,
    /// Its first server is the tier, if it has one.
    policy: RefCell<Policy>,
    liveness: RefCell<Liveness>,
    is_probing: Cell<bool>,
    recovery: watch::Sender<Option<Recovery>>,
    /// Cached answers (`true`) and failures, with their expiry.
    known: RefCell<HashMap<Question, (Instant, bool)>>,
    /// The questions in flight, each with the queries that have joined it.
    flights: RefCell<HashMap<Question, Vec<oneshot::Sender<bool>>>>,
}

impl Proxy {
    pub(super) fn new(arm: Arm, has_tier: bool) -> Self {
        let tier = usize::from(has_tier);
        let setup = Setup { servers: tier + 1, tier, backup: 0, transport: UpstreamTransport::Auto };
        Self {
            has_policy: arm != Arm::Once,
            policy: RefCell::new(Policy::new(setup)),
            liveness: RefCell::new(Liveness::new(tier)),
            is_probing: Cell::new(false),
            recovery: watch::channel(None).0,
            known: RefCell::default(),
            flights: RefCell::default(),
        }
    }

    /// Whether it answers probes with SERVFAIL: a tier whose cluster DNS is silent.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.policy.borrow().condition(now).is_dead
    }

    /// Answers a question from the cache, or with the answer of a server. Returns `false` for SERVFAIL.
    pub(super) async fn resolve(self: Rc<Self>, model: &Rc<Model>, question: Question) -> Option<bool> {
        let known = self.known.borrow().get(&question).copied();
        if let Some((_, is_good)) = known.filter(|(until, _)| *until > model.time.now()) {
            return Some(is_good);
        }
        let (waiter, answer) = oneshot::channel();
        let is_joined = self.flights.borrow_mut().get_mut(&question).map(|flight| flight.push(waiter));
        if is_joined.is_some() {
            return answer.await.ok();
        }
        self.flights.borrow_mut().insert(question, Vec::new());
        let is_good = if self.has_policy {
            self.exchange(model, question).await
        } else {
            model.query(0, Message::Question(question), false).await?
        };
        let life = if is_good { question.ttl() } else { FAILURE_MEMORY };
        self.known.borrow_mut().insert(question, (model.time.now() + life, is_good));
        let waiters = self.flights.borrow_mut().remove(&question).unwrap_or_default();
        for waiter in waiters {
            let _ = waiter.send(is_good);
        }
        Some(is_good)
    }

    async fn exchange(self: &Rc<Self>, model: &Rc<Model>, question: Question) -> bool {
        let now = model.time.now();
        if let Some(server) = self.policy.borrow_mut().take_due_trial(now) {
            self.liveness.borrow_mut().request_probe(server, now);
        }
        self.probe(model);
        let mut recoveries = self.recovery.subscribe();
        let (sender, mut answers) = unbounded_channel();
        let (exchange, first) = self.policy.borrow_mut().begin_exchange(None, now, model.chance());
        let in_flight = VecDeque::new();
        let mut race =
            Race { proxy: self, model, question, exchange, guard: None, in_flight, answers: sender };
        race.transmit(Some(first));
        loop {
            let now = tokio::select! {
                biased;
                Some((attempt, is_good)) = answers.recv() => {
                    if let Some(is_good) = race.on_answer(attempt, is_good) {
                        return is_good;
                    }
                    continue;
                }
                Ok(()) = recoveries.changed() => {
                    if let Some(recovery) = *recoveries.borrow_and_update() {
                        race.exchange.note_recovery(recovery, model.time.now());
                    }
                    continue;
                }
                () = model.time.sleep_until(race.wakes_at()) => model.time.now(),
            };
            if now >= self.policy.borrow().deadline(&race.exchange) || race.on_wakeup() {
                return false;
            }
        }
    }

    /// Probes the tier if that was requested, and no probe is in flight.
    fn probe(self: &Rc<Self>, model: &Rc<Model>) {
        let began = model.time.now();
        if self.is_probing.get() || self.liveness.borrow_mut().begin_probe(began).is_none() {
            return;
        }
        self.is_probing.set(true);
        let (answered, mut answers) = unbounded_channel();
        for _ in 0..PROBES {
            let (server, network) = (model.tier_server(), Rc::clone(model));
            let answer = async move { network.query(server, Message::Probe, false).await };
            model.send_result(answer, answered.clone(), |is_good| is_good);
        }
        let (proxy, network) = (Rc::clone(self), Rc::clone(model));
        model.time.spawn(async move {
            let mut count = 0;
            while count < PROBES {
                tokio::select! {
                    biased;
                    Some(is_good) = answers.recv() => count += usize::from(is_good),
                    () = network.time.sleep_until(began + PROBE_TIMEOUT) => break,
                }
            }
            drop(answered);
            let finding = Finding::of(count, PROBES);
            proxy.liveness.borrow_mut().end_probe(0, finding);
            proxy.policy.borrow_mut().record_probe(0, finding, began, network.time.now());
            proxy.is_probing.set(false);
            proxy.probe(&network);
        });
    }
}

/// An exchange with the servers for one question.
struct Race<'a> {
    proxy: &'a Rc<Proxy>,
    model: &'a Rc<Model>,
    question: Question,
    exchange: Exchange,
    guard: Option<Guard>,
    /// The transmissions whose answers are accepted.
    in_flight: VecDeque<Attempt>,
    answers: UnboundedSender<(Attempt, bool)>,
}

/// A transmission: the index of the server in the settings, and when it was sent.
type Attempt = (usize, Instant);

impl Race<'_> {
    fn transmit(&mut self, transmission: Option<Transmission>) {
        let Some(Transmission { target, .. }) = transmission else { return };
        let (model, now) = (self.model, self.model.time.now());
        let Target { server: place, transport } = target;
        let mut server = 0;
        if self.proxy.policy.borrow().is_tier_server(place) {
            server = model.tier_server();
            self.guard.get_or_insert_with(|| Guard::new(place, FIRST_PAUSE, now, model.chance()));
        }
        self.in_flight.truncate(LISTENING - 1);
        self.in_flight.push_front((place, now));
        let (network, question) = (Rc::clone(model), Message::Question(self.question));
        let answer = async move { network.query(server, question, transport == Transport::Tcp).await };
        model.send_result(answer, self.answers.clone(), move |is_good| ((place, now), is_good));
    }

    fn wakes_at(&self) -> Instant {
        let policy_at = self.proxy.policy.borrow().wakes_at(&self.exchange);
        self.guard.as_ref().map_or(policy_at, |guard| guard.wakes_at().min(policy_at))
    }

    /// Returns whether no server is left.
    fn on_wakeup(&mut self) -> bool {
        let is_over = self.guard_tier();
        self.proxy.probe(self.model);
        is_over.unwrap_or_else(|| {
            let policy = &self.proxy.policy;
            let due = policy.borrow_mut().due_transmission(&mut self.exchange, self.model.time.now());
            self.transmit(due);
            false
        })
    }

    /// Does what the guard says about a silent tier. When the exchange leaves the tier, returns whether no
    /// server is left.
    fn guard_tier(&mut self) -> Option<bool> {
        let now = self.model.time.now();
        let guard = self.guard.as_mut().filter(|guard| now >= guard.wakes_at())?;
        match guard.due_action(&mut self.proxy.liveness.borrow_mut(), now, self.model.chance())? {
            GuardAction::Probe => None,
            GuardAction::Leave(server) => Some(self.leave(server)),
        }
    }

    /// Stops using that server. Returns whether no server is left.
    fn leave(&mut self, server: usize) -> bool {
        self.guard.take_if(|guard| guard.server() == server);
        let next = self.proxy.policy.borrow_mut().leave(&mut self.exchange, server, self.model.time.now());
        let is_last = next.is_none() && self.exchange.is_exhausted() && self.in_flight.is_empty();
        self.transmit(next);
        is_last
    }

    /// Returns the result of the exchange, when it is over.
    fn on_answer(&mut self, attempt: Attempt, is_good: bool) -> Option<bool> {
        if !self.in_flight.contains(&attempt) {
            return None;
        }
        let ((server, sent_at), now) = (attempt, self.model.time.now());
        let recovery = {
            let policy = &mut *self.proxy.policy.borrow_mut();
            let recovery = policy.record_response(server, sent_at, now);
            if is_good {
                policy.record_answer(&self.exchange, now - sent_at);
            }
            recovery
        };
        if recovery.is_some() {
            self.proxy.recovery.send_replace(recovery);
        }
        if is_good {
            return Some(true);
        }
        self.in_flight.retain(|(other, _)| *other != server);
        self.leave(server).then_some(false)
    }
}
