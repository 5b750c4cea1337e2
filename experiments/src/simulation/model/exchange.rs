//! The behaviour of proxies; with the policy, that of the sidecar's `upstream/race.rs` and
//! `upstream/check.rs`.

use std::time::Instant;

use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard, GuardAction, PROBE_TIMEOUT};
use podlocal_dns::upstream::liveness::Finding;
use podlocal_dns::upstream::{Policy, Reason, Recovery, Transmission, Transport};

use super::{Event, Model, Origin, Query};
use crate::simulation::plan::Question;
use crate::simulation::proxy::{Control, Exchange, ExchangeState, Proxy, Waiter};

/// The number of queries in a check of a silent tier.
const CHECKS: usize = 5;

/// The cost of a query over a new TCP connection, in multiples of a query over UDP.
const TCP_WEIGHT: u32 = 3;

/// The number of transmissions of one exchange whose answers are accepted.
const LISTENING: usize = 6;

impl Model {
    /// A proxy receives a query.
    pub(super) fn ask(&mut self, proxy: usize, question: Question, waiter: Waiter) {
        if let Some(is_good) = self.proxies[proxy].known(question, self.now) {
            return self.answer(waiter, is_good);
        }
        if let Some(exchange) = self.proxies[proxy].flight(question) {
            return self.exchanges[exchange].waiters.push(waiter);
        }
        let (now, chance, exchange) = (self.now, self.chance(), self.exchanges.len());
        let state = &mut self.proxies[proxy];
        if let Control::Policy(policy) = &mut state.control
            && let Some(server) = policy.take_due_trial(now)
        {
            state.liveness.request_probe(server, now);
        }
        let (asking, first) = state.begin(question, exchange, now, chance);
        let (waiters, listening) = (vec![waiter], Vec::new());
        self.exchanges.push(Exchange {
            proxy,
            question,
            waiters,
            asking,
            listening,
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
        self.proxies[*proxy].end(*question, is_good, self.now);
        for waiter in std::mem::take(waiters) {
            self.answer(waiter, is_good);
        }
    }

    /// Sends the query of an exchange.
    pub(super) fn transmit(&mut self, exchange: usize, Transmission { target, reason }: Transmission) {
        let (now, chance) = (self.now, self.chance());
        let Exchange { proxy, question, asking, .. } = &mut self.exchanges[exchange];
        let (proxy, question) = (*proxy, *question);
        let is_tier_server = match &self.proxies[proxy].control {
            Control::Policy(policy) => policy.is_tier_server(target.server),
            Control::Schedule(..) => false,
        };
        if let ExchangeState::Policy(_, guard @ None) = asking
            && is_tier_server
        {
            *guard = Some(Guard::new(target.server, FIRST_PAUSE, now, chance));
        }
        let server = if is_tier_server { self.tier_server(proxy) } else { 0 };
        let is_tcp = target.transport == Transport::Tcp;
        let weight = if is_tcp { TCP_WEIGHT } else { 1 };
        self.outcome.again += u64::from(reason != Reason::First && server == 0);
        let origin = Origin::Exchange { exchange, place: target.server };
        let query = self.send(Query { origin, question, server, is_tcp, weight, sent_at: now });
        let listening = &mut self.exchanges[exchange].listening;
        if listening.len() >= LISTENING {
            listening.remove(0);
        }
        listening.push(query);
        self.expect_answer(proxy);
    }

    /// The replica of the tier that gets a datagram: a random one, because each datagram has a different
    /// port.
    fn tier_server(&mut self, sidecar: usize) -> usize {
        match self.gang.tier_replicas {
            0 => 1 + sidecar / self.gang.pods_per_node,
            replicas => self.random.usize(1..=replicas),
        }
    }

    /// Schedules the next timer of an exchange.
    fn sleep(&mut self, exchange: usize) {
        let state = &mut self.exchanges[exchange];
        let [at, _] = self.proxies[state.proxy].wakes_at(&state.asking);
        if let Some(at) = at.filter(|_| !state.is_done) {
            state.wakes += 1;
            let wakes = state.wakes;
            self.schedule(at.max(self.now), Event::Wake { exchange, wakes });
        }
    }

    pub(super) fn wake(&mut self, exchange: usize, wakes: u32) {
        let state = &self.exchanges[exchange];
        if state.is_done || state.wakes != wakes {
            return;
        }
        let [_, deadline] = self.proxies[state.proxy].wakes_at(&state.asking);
        if deadline.is_some_and(|deadline| self.now >= deadline) {
            return self.finish(exchange, false);
        }
        if !self.check_tier(exchange) {
            let Exchange { proxy, asking, .. } = &mut self.exchanges[exchange];
            if let Some(transmission) = self.proxies[*proxy].due(asking, self.now) {
                self.transmit(exchange, transmission);
            }
        }
        self.sleep(exchange);
    }

    /// A query of an exchange is answered.
    pub(super) fn ended(&mut self, exchange: usize, place: usize, query: usize, is_good: bool) {
        let Exchange { proxy, is_done, ref listening, .. } = self.exchanges[exchange];
        // The socket is closed.
        if is_done || !listening.contains(&query) {
            return;
        }
        let (now, sent_at) = (self.now, self.queries[query].sent_at);
        if is_good {
            self.finish(exchange, true);
        }
        let Control::Policy(policy) = &mut self.proxies[proxy].control else {
            return self.old_response(proxy, now - sent_at);
        };
        let recovery = policy.record_response(place, sent_at, now);
        if is_good && let ExchangeState::Policy(of, _) = &self.exchanges[exchange].asking {
            policy.record_answer(of, now - sent_at);
        }
        if let Some(recovery) = recovery {
            self.recovered(proxy, recovery);
        }
        if !is_good {
            let queries = &self.queries;
            let is_of_server = |query: &usize| matches!(queries[*query].origin, Origin::Exchange { place: at, .. } if at == place);
            self.exchanges[exchange].listening.retain(|query| !is_of_server(query));
            self.leave(exchange, place);
            self.sleep(exchange);
        }
    }

    /// A silent server has answered again: informs every exchange of the proxy.
    fn recovered(&mut self, proxy: usize, recovery: Recovery) {
        for flight in self.proxies[proxy].flights() {
            if let ExchangeState::Policy(exchange, _) = &mut self.exchanges[flight].asking {
                exchange.note_recovery(recovery, self.now);
            }
            self.sleep(flight);
        }
    }

    fn policy(&mut self, exchange: usize) -> Option<(&mut Policy, &mut Exchange)> {
        let exchange = self.exchanges.get_mut(exchange)?;
        let Control::Policy(policy) = &mut self.proxies[exchange.proxy].control else { return None };
        Some((policy, exchange))
    }

    /// The exchange stops using that server.
    fn leave(&mut self, exchange: usize, server: usize) {
        let now = self.now;
        let Some((policy, state)) = self.policy(exchange) else { return };
        let ExchangeState::Policy(asking, guard) = &mut state.asking else { return };
        guard.take_if(|guard| guard.server() == server);
        if let Some(transmission) = policy.leave(asking, server, now) {
            self.transmit(exchange, transmission);
        } else if asking.is_exhausted() && state.listening.is_empty() {
            self.finish(exchange, false);
        }
    }

    /// Handles a silent tier. Returns whether another server is used instead.
    fn check_tier(&mut self, exchange: usize) -> bool {
        let (now, chance) = (self.now, self.chance());
        let Exchange { proxy, asking: ExchangeState::Policy(_, Some(guard)), .. } =
            &mut self.exchanges[exchange]
        else {
            return false;
        };
        let (proxy, liveness) = (*proxy, &mut self.proxies[*proxy].liveness);
        match guard.due_action(now) {
            Some(GuardAction::Probe { server, since }) => {
                liveness.request_probe(server, since);
            }
            Some(GuardAction::Leave { server, unless_alive_since: since }) => {
                match liveness.finding(server, since) {
                    Some(Finding::Alive) => *guard = guard.rearmed(now, chance),
                    None if guard.postpone(now) => {
                        liveness.request_probe(server, since);
                    }
                    _ => {
                        self.leave(exchange, server);
                        return true;
                    }
                }
            }
            None => {}
        }
        self.begin_check(proxy);
        false
    }

    /// Starts a check of the tier, if it is needed and none is in flight.
    fn begin_check(&mut self, proxy: usize) {
        let (now, state) = (self.now, &mut self.proxies[proxy]);
        if state.check.is_some() || state.liveness.begin_probe(now).is_none() {
            return;
        }
        state.check = Some((now, 0));
        for _ in 0..CHECKS {
            let server = self.tier_server(proxy);
            self.send_check(proxy, server, false);
        }
        self.schedule(now + PROBE_TIMEOUT, Event::CheckEnds { proxy, began: now });
    }

    /// Sends a check query to a server.
    pub(super) fn send_check(&mut self, proxy: usize, server: usize, is_tcp: bool) {
        // The name does not matter.
        let question = self.plan[0][0][0];
        let weight = if is_tcp { TCP_WEIGHT } else { 1 };
        self.send(Query {
            origin: Origin::Check(proxy),
            question,
            server,
            is_tcp,
            weight,
            sent_at: self.now,
        });
    }

    /// A check is answered.
    pub(super) fn checked(&mut self, proxy: usize, query: usize, is_good: bool) {
        let sent_at = self.queries[query].sent_at;
        let state = &mut self.proxies[proxy];
        if let Some((began, answered)) = &mut state.check
            && *began == sent_at
        {
            *answered += usize::from(is_good);
            if *answered == CHECKS {
                self.end_check(proxy, sent_at);
            }
        } else if matches!(state.control, Control::Schedule(..)) {
            self.old_response(proxy, self.now - sent_at);
        }
    }

    pub(super) fn end_check(&mut self, proxy: usize, began: Instant) {
        let Proxy { check, liveness, control, .. } = &mut self.proxies[proxy];
        let Some((_, answered)) = check.take_if(|(at, _)| *at == began) else { return };
        let finding = Finding::of(answered, CHECKS);
        liveness.end_probe(0, finding);
        if let Control::Policy(policy) = control {
            policy.record_probe(0, finding, began, self.now);
        }
        self.begin_check(proxy);
    }
}
