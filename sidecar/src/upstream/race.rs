//! One exchange: transmissions by the rules of the policy, all of them awaited together; the first good
//! answer wins.
//!
//! `podlocal_dns::upstream` has the rules, which know neither sockets nor tasks. This module adds:
//!
//! | event | the exchange |
//! |---|---|
//! | a truncated answer | sends the query over TCP immediately. Returns the truncated answer when TCP has brought nothing within a second, or has failed recently. If the answer is from the shared tier, queries the next server then |
//! | NXDOMAIN of a backup server | continues, unless `podlocal_dns::upstream::backup` accepts the answer |
//! | a server of the shared tier is silent for some 200 ms | requests a probing, and leaves the server unless it is alive |
//! | an answer | drops all other attempts |

use std::io;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard};
use podlocal_dns::upstream::{Exchange, Reason, Target, Transmission, Transport};
use tokio::time::{Instant, sleep_until};

use super::attempts::{Attempt, Attempts};
use super::classify::classify_from;
use super::network::Network;
use super::observers::Event;
use super::state::{Sent, State};
use super::{Failed, random, source};
use crate::limits;
use crate::metrics::{AttemptResult, FallbackReason};

mod tier;

/// The response, or none from any server.
type Outcome = Result<Vec<u8>, Failed>;

/// Makes transmissions until a server answers or no client can be waiting any more.
pub fn race<'a, N: Network>(
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    deadline: Instant,
) -> impl Future<Output = Outcome> {
    let start = Instant::now();
    let (exchange, first) = state.begin_exchange(key, source::current(), start, random::chance());
    let begun = Begun { exchange, start, guard: None, due: Some(first) };
    resume(state, network, key, begun, None, deadline)
}

/// An exchange that was started elsewhere.
#[derive(Debug)]
pub struct Begun {
    /// Its state.
    pub exchange: Exchange,
    /// When it began.
    pub start: Instant,
    /// The guard of the tier server that was queried last. Boxed, because few servers have one.
    pub guard: Option<Box<Guard>>,
    /// The transmission that is due.
    pub due: Option<Transmission>,
}

/// Makes the further transmissions of an exchange, like [`race`], beside the attempt in flight. Not an async
/// function: its future would hold the arguments a second time.
pub fn resume<'a, N: Network>(
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    mut begun: Begun,
    attempt: Option<Attempt<'a>>,
    deadline: Instant,
) -> impl Future<Output = Outcome> {
    let mut recoveries = state.recovered.subscribe();
    let due = begun.due.take();
    let mut attempts = Vec::with_capacity(1); // one is mostly enough
    attempts.extend(attempt);
    let mut race = Race {
        state,
        network,
        key,
        begun,
        transmissions: attempts.len() as u8,
        attempts: Attempts(attempts),
        fallback: None,
        settles_at: None,
    };
    if let Some(transmission) = due {
        race.transmit(transmission, Instant::now());
    }
    async move {
        loop {
            let deadline = deadline.min(state.deadline(&race.begun.exchange));
            let wakes_at = race.wakes_at().min(deadline);
            let ended = tokio::select! {
                biased;
                (sent, outcome) = race.attempts.next() => race.on_attempt_ended(sent, outcome, Instant::now()),
                Ok(()) = recoveries.changed() => {
                    if let Some(recovery) = *recoveries.borrow_and_update() {
                        race.begun.exchange.note_recovery(recovery, Instant::now().into_std());
                    }
                    None
                }
                () = sleep_until(wakes_at) => race.on_wakeup(deadline, Instant::now()),
            };
            if let Some(outcome) = ended {
                let (now, start, attempts) = (Instant::now(), race.begun.start, race.transmissions);
                state.observers.notify(key, now, || Event::ExchangeEnded { attempts, took: now - start });
                return outcome;
            }
        }
    }
}

struct Race<'a, N> {
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    begun: Begun,
    attempts: Attempts<'a>,
    /// A failure or a truncated answer, in case nothing better arrives.
    fallback: Option<Vec<u8>>,
    /// When to return the truncated answer if the whole one has not arrived.
    settles_at: Option<Instant>,
    /// The number of transmissions.
    transmissions: u8,
}

/// Methods that return an outcome: `None` while the exchange has not ended.
impl<N: Network> Race<'_, N> {
    fn transmit(&mut self, Transmission { target, reason }: Transmission, now: Instant) {
        if reason != Reason::First {
            self.state.metrics.retransmissions.inc();
        }
        // The oldest attempt is the likeliest to be lost.
        if self.attempts.0.len() >= limits::ATTEMPTS_IN_FLIGHT {
            self.attempts.0.remove(0);
        }
        let (network, key) = (self.network, self.key);
        let is_repeated = matches!(reason, Reason::Loss | Reason::Timeout | Reason::Recovery);
        let future = Box::pin(network.ask(target, key, is_repeated));
        self.attempts.0.push(Attempt { sent: Sent { target, at: now }, future });
        self.transmissions = self.transmissions.saturating_add(1);
        self.state.observers.notify(key, now, || Event::AttemptStarted { target });
        let is_guarded = self.begun.guard.as_ref().is_some_and(|guard| guard.server() == target.server);
        if self.state.is_tier_server(target.server) && !is_guarded {
            let guard = Guard::new(target.server, FIRST_PAUSE, now.into_std(), random::chance());
            self.begun.guard = Some(Box::new(guard));
        }
    }

    fn wakes_at(&self) -> Instant {
        let policy_at = self.state.wakes_at(&self.begun.exchange);
        let guard_at = self.begun.guard.as_ref().map(|guard| Instant::from_std(guard.wakes_at()));
        [guard_at, self.settles_at].into_iter().flatten().fold(policy_at, Instant::min)
    }

    fn on_wakeup(&mut self, deadline: Instant, now: Instant) -> Option<Outcome> {
        if now >= deadline {
            return Some(self.give_up(now));
        }
        if self.settles_at.is_some_and(|at| now >= at) {
            return self.leave_tier_without_tcp(now);
        }
        if !self.guard_tier(now)
            && let Some(transmission) = self.state.due_transmission(&mut self.begun.exchange, now)
        {
            self.transmit(transmission, now);
        }
        None
    }

    /// An attempt has ended.
    fn on_attempt_ended(
        &mut self,
        sent: Sent,
        outcome: io::Result<Vec<u8>>,
        now: Instant,
    ) -> Option<Outcome> {
        let target @ Target { server, transport } = sent.target;
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%error, transport = transport.name(), "a query to an upstream failed");
                self.state.record_attempt(self.key, sent, AttemptResult::Unreachable, now);
                return self.on_unreachable(target, now);
            }
        };
        let result = classify_from(self.state, self.key, target, &response, now);
        let answered = (result != AttemptResult::Failure).then_some(&self.begun.exchange);
        self.state.record_response(self.key, sent, &response, result, answered, now);
        match result {
            AttemptResult::NegativeIgnored => {
                self.drop_attempts(now, |of| of == server);
                let mut state = self.state.lock();
                let next = state.policy.next_after_denial(&mut self.begun.exchange, server, now.into_std());
                drop(state);
                self.continue_with(next, now)
            }
            AttemptResult::Failure => {
                self.fallback.get_or_insert(response);
                self.drop_attempts(now, |of| of == server);
                self.leave(server, FallbackReason::Failure, now)
            }
            AttemptResult::Truncated if self.state.should_try_tcp(server, now) => {
                // A truncated answer is better than a failure. The server asks for TCP: that is no
                // retransmission.
                self.fallback = Some(response);
                self.settles_at = Some(now + limits::TRUNCATED_TIMEOUT);
                self.begun.exchange.settle();
                let over_tcp = Target { server, transport: Transport::Tcp };
                if !self.attempts.0.iter().any(|attempt| attempt.sent.target == over_tcp) {
                    self.transmit(Transmission { target: over_tcp, reason: Reason::First }, now);
                }
                None
            }
            AttemptResult::Truncated if self.state.is_tier_server(server) => {
                self.fallback = Some(response);
                self.drop_attempts(now, |of| of == server);
                self.leave(server, FallbackReason::Failure, now)
            }
            _ => {
                if transport == Transport::Tcp {
                    self.state.record_tcp_fetch(server, true, now);
                }
                self.drop_attempts(now, |_| true);
                Some(Ok(response))
            }
        }
    }

    /// No server listens at the address, or the connection broke.
    fn on_unreachable(&mut self, Target { server, transport }: Target, now: Instant) -> Option<Outcome> {
        let is_tier_server = self.state.is_tier_server(server);
        if self.attempts.0.iter().any(|attempt| attempt.sent.target.server == server) {
            // An earlier transmission is still in flight. The server may have closed a connection because of
            // a limit; it refuses a datagram only when it is gone.
            if transport == Transport::Udp && !is_tier_server {
                self.state.lock().policy.record_refusal(&self.begun.exchange, server, now.into_std());
            }
            return None;
        }
        if transport == Transport::Tcp && self.settles_at.is_some() {
            self.state.record_tcp_fetch(server, false, now);
        }
        if is_tier_server {
            // A truncated answer of a tier that accepts no more connections may be empty: the next server has
            // the whole one.
            self.settles_at = None;
            return self.leave(server, FallbackReason::Unreachable, now);
        }
        if let Some(truncated) = self.fallback.take_if(|_| transport == Transport::Tcp) {
            return Some(Ok(truncated));
        }
        let mut state = self.state.lock();
        let next = state.policy.next_after_refusal(&mut self.begun.exchange, server, now.into_std());
        drop(state);
        if let Some(transmission) = next {
            self.transmit(transmission, now);
        }
        None
    }

    /// Stops querying that server, and queries the next one.
    fn leave(&mut self, server: usize, reason: FallbackReason, now: Instant) -> Option<Outcome> {
        self.begun.guard.take_if(|guard| guard.server() == server);
        let next = self.state.lock().policy.leave(&mut self.begun.exchange, server, now.into_std());
        if next.is_some() && self.state.is_tier_server(server) {
            self.state.metrics.fallbacks.inc(reason);
        }
        self.continue_with(next, now)
    }

    /// Sends the next transmission; without one, waits for the attempts in flight.
    fn continue_with(&mut self, next: Option<Transmission>, now: Instant) -> Option<Outcome> {
        if let Some(transmission) = next {
            self.transmit(transmission, now);
        }
        let is_over = self.begun.exchange.is_exhausted() && self.attempts.0.is_empty();
        is_over.then(|| self.fallback.take().ok_or(Failed))
    }

    /// Drops the attempts at these servers, because a response has made them superfluous.
    fn drop_attempts(&mut self, now: Instant, concerns: impl Fn(usize) -> bool) {
        for attempt in self.attempts.0.extract_if(.., |attempt| concerns(attempt.sent.target.server)) {
            self.state.record_attempt(self.key, attempt.sent, AttemptResult::Superseded, now);
        }
    }

    /// Ends the exchange at its deadline, or when it waits no longer for TCP.
    fn give_up(&mut self, now: Instant) -> Outcome {
        for Attempt { sent, .. } in self.attempts.0.drain(..) {
            if self.settles_at.is_some() && sent.target.transport == Transport::Tcp {
                self.state.record_tcp_fetch(sent.target.server, false, now);
            }
            self.state.record_attempt(self.key, sent, AttemptResult::Timeout, now);
        }
        self.fallback.take().ok_or(Failed)
    }
}

#[cfg(test)]
mod tests;
