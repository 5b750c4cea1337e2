//! The clients of cluster DNS: a pod's resolver, a sidecar, or a replica of the shared tier. Sidecars and tier
//! do what the sidecar's `upstream/race.rs` does, with the same policy.

use std::collections::HashMap;
use std::mem::take;
use std::time::{Duration, Instant};

use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard};
use podlocal_dns::upstream::liveness::Liveness;
use podlocal_dns::upstream::{self, Policy, Reason, Setup, Target, Transmission, Transport};
use podlocal_settings::value::UpstreamTransport;

use super::{Event, Model, Origin, Query};
use crate::simulation::Arm;
use crate::simulation::plan::Question;

/// The time for which a failure is cached (RFC 9520).
const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// The number of transmissions of one exchange whose answers are accepted.
const LISTENING: usize = 6;

/// One process.
#[derive(Debug)]
pub(super) struct Proxy {
    /// `None`: each query is sent once.
    pub(super) policy: Option<Box<Policy>>,
    /// Whether answers are cached and queries in flight are coalesced.
    is_cache: bool,
    pub(super) liveness: Liveness,
    /// The check of the tier in flight: its start, and the number of its answered queries.
    pub(super) check: Option<(Instant, usize)>,
    /// Cached answers (`true`) and failures, with their expiry.
    known: HashMap<Question, (Instant, bool)>,
    /// Exchanges in flight, in their order.
    flights: Vec<usize>,
}

/// An exchange of a proxy for a question.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) proxy: usize,
    question: Question,
    waiters: Vec<Waiter>,
    /// Its state in the policy of the proxy.
    asking: Option<upstream::Exchange>,
    pub(super) guard: Option<Guard>,
    /// The transmissions whose answers are accepted.
    listening: Vec<usize>,
    /// The number of the current timer; older timers are ignored.
    wakes: u32,
    is_done: bool,
}

/// The recipient of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waiter {
    /// A resolver: the pod, its socket, and the index of the question in its step.
    Stub { pod: usize, socket: u32, index: usize },
    /// A sidecar that has sent this query to the tier.
    Query(usize),
}

impl Proxy {
    /// The proxy of a pod of the arm, or of a replica of its tier. Its first server is the tier, if it has one.
    pub(super) fn new(arm: Arm, has_tier: bool) -> Self {
        let tier = usize::from(has_tier);
        let setup = Setup { servers: tier + 1, tier, backup: 0, transport: UpstreamTransport::Auto };
        let has_policy = matches!(arm, Arm::Sidecars | Arm::Tier);
        Self {
            policy: has_policy.then(|| Box::new(Policy::new(setup))),
            is_cache: arm.has_sidecars(),
            liveness: Liveness::new(tier),
            check: None,
            known: HashMap::new(),
            flights: Vec::new(),
        }
    }

    /// Whether it answers SERVFAIL: a tier whose cluster DNS is silent.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.condition(now).is_dead)
    }
}

impl Model {
    /// A proxy receives a query.
    pub(super) fn ask(&mut self, proxy: usize, question: Question, waiter: Waiter) {
        let (now, state) = (self.now, &self.proxies[proxy]);
        if let Some(&(_, is_good)) = state.known.get(&question).filter(|(until, _)| *until > now) {
            return self.answer(waiter, is_good);
        }
        let mut flights = state.flights.iter().copied().filter(|_| state.is_cache);
        if let Some(flight) = flights.find(|flight| self.exchanges[*flight].question == question) {
            return self.exchanges[flight].waiters.push(waiter);
        }
        let (chance, exchange) = (self.random.u16(..), self.exchanges.len());
        let state = &mut self.proxies[proxy];
        state.flights.push(exchange);
        let target = Target { server: 0, transport: Transport::Udp };
        let (mut asking, mut first) = (None, Transmission { target, reason: Reason::First });
        if let Some(policy) = &mut state.policy {
            if let Some(server) = policy.take_due_trial(now) {
                state.liveness.request_probe(server, now);
            }
            let (exchange, transmission) = policy.begin_exchange(None, now, chance);
            (asking, first) = (Some(exchange), transmission);
        }
        self.exchanges.push(Exchange {
            proxy,
            question,
            waiters: vec![waiter],
            asking,
            guard: None,
            listening: Vec::new(),
            wakes: 0,
            is_done: false,
        });
        self.begin_check(proxy);
        self.transmit(exchange, first);
        self.sleep(exchange);
    }

    fn answer(&mut self, waiter: Waiter, is_good: bool) {
        match waiter {
            Waiter::Stub { pod, socket, index } => {
                self.schedule(self.now, Event::Answer { pod, to: (socket, index), is_good });
            }
            Waiter::Query(query) => self.send_reply(query, is_good),
        }
    }

    /// An exchange has its answer, or ends without one: SERVFAIL.
    fn finish(&mut self, exchange: usize, is_good: bool) {
        let Exchange { proxy, question, is_done, waiters, .. } = &mut self.exchanges[exchange];
        *is_done = true;
        let (waiters, state) = (take(waiters), &mut self.proxies[*proxy]);
        state.flights.retain(|flight| *flight != exchange);
        if state.is_cache {
            let life = if is_good { question.ttl() } else { FAILURE_MEMORY };
            state.known.insert(*question, (self.now + life, is_good));
        }
        for waiter in waiters {
            self.answer(waiter, is_good);
        }
    }

    /// Sends the query of an exchange.
    fn transmit(&mut self, exchange: usize, Transmission { target, reason }: Transmission) {
        let (now, chance) = (self.now, self.random.u16(..));
        let Exchange { proxy, question, guard, .. } = &mut self.exchanges[exchange];
        let (proxy, question) = (*proxy, *question);
        let policy = self.proxies[proxy].policy.as_ref();
        let mut server = 0;
        if policy.is_some_and(|policy| policy.is_tier_server(target.server)) {
            guard.get_or_insert_with(|| Guard::new(target.server, FIRST_PAUSE, now, chance));
            server = self.tier_server(proxy);
        }
        self.outcome.again += u64::from(reason != Reason::First && server == 0);
        let (origin, is_tcp) =
            (Origin::Exchange { exchange, place: target.server }, target.transport == Transport::Tcp);
        let query = self.send(Query { origin, question, server, is_tcp, sent_at: now });
        let listening = &mut self.exchanges[exchange].listening;
        if listening.len() >= LISTENING {
            listening.remove(0);
        }
        listening.push(query);
    }

    /// The replica of the tier that gets a datagram: a random one, because each datagram has a different
    /// port.
    pub(super) fn tier_server(&mut self, sidecar: usize) -> usize {
        match self.gang.tier_replicas {
            0 => 1 + sidecar / self.gang.pods_per_node,
            replicas => self.random.usize(1..=replicas),
        }
    }

    /// The policy of the proxy of an exchange, and the state of the exchange there.
    fn policy(&mut self, exchange: usize) -> Option<(&mut Policy, &mut upstream::Exchange)> {
        let state = &mut self.exchanges[exchange];
        Some((self.proxies[state.proxy].policy.as_mut()?, state.asking.as_mut()?))
    }

    /// Schedules the next timer of an exchange.
    fn sleep(&mut self, exchange: usize) {
        let Some((policy, asking)) = self.policy(exchange) else { return };
        let policy_at = policy.wakes_at(asking);
        let state = &mut self.exchanges[exchange];
        let at = state.guard.as_ref().map_or(policy_at, |guard| guard.wakes_at().min(policy_at));
        if !state.is_done {
            state.wakes += 1;
            let wakes = state.wakes;
            self.schedule(at.max(self.now), Event::Wake { exchange, wakes });
        }
    }

    pub(super) fn wake(&mut self, exchange: usize, wakes: u32) {
        let (now, state) = (self.now, &self.exchanges[exchange]);
        if state.is_done || state.wakes != wakes {
            return;
        }
        if self.policy(exchange).is_some_and(|(policy, asking)| now >= policy.deadline(asking)) {
            return self.finish(exchange, false);
        }
        if !self.check_tier(exchange)
            && let Some((policy, asking)) = self.policy(exchange)
            && let Some(transmission) = policy.due_transmission(asking, now)
        {
            self.transmit(exchange, transmission);
        }
        self.sleep(exchange);
    }

    /// A query of an exchange is answered; `place` is the index of the server in the settings of its proxy.
    pub(super) fn exchange_answered(&mut self, exchange: usize, place: usize, query: usize, is_good: bool) {
        let Exchange { proxy, is_done, ref listening, .. } = self.exchanges[exchange];
        // The socket is closed.
        if is_done || !listening.contains(&query) {
            return;
        }
        let (now, sent_at) = (self.now, self.queries[query].sent_at);
        if is_good {
            self.finish(exchange, true);
        }
        let Some((policy, asking)) = self.policy(exchange) else { return };
        let recovery = policy.record_response(place, sent_at, now);
        if is_good {
            policy.record_answer(asking, now - sent_at);
        }
        if let Some(recovery) = recovery {
            for flight in self.proxies[proxy].flights.clone() {
                if let Some((_, asking)) = self.policy(flight) {
                    asking.note_recovery(recovery, now);
                }
                self.sleep(flight);
            }
        }
        if !is_good {
            let queries = &self.queries;
            let is_of_server = |query: &usize| matches!(queries[*query].origin, Origin::Exchange { place: at, .. } if at == place);
            self.exchanges[exchange].listening.retain(|query| !is_of_server(query));
            self.leave(exchange, place);
            self.sleep(exchange);
        }
    }

    /// The exchange stops using that server.
    pub(super) fn leave(&mut self, exchange: usize, server: usize) {
        let now = self.now;
        self.exchanges[exchange].guard.take_if(|guard| guard.server() == server);
        let Some((policy, asking)) = self.policy(exchange) else { return };
        let (next, is_exhausted) = (policy.leave(asking, server, now), asking.is_exhausted());
        match next {
            Some(transmission) => self.transmit(exchange, transmission),
            None if is_exhausted && self.exchanges[exchange].listening.is_empty() => {
                self.finish(exchange, false);
            }
            None => {}
        }
    }
}
