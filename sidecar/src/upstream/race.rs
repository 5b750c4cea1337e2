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
use podlocal_dns::upstream::{Exchange, Reason, Recovery, Target, Transmission, Transport};
use tokio::time::{Instant, sleep_until};

use super::attempts::{Attempt, Attempts};
use super::classify::classify_from;
use super::network::Network;
use super::observers::Event;
use super::state::State;
use super::{Failed, random, source};
use crate::limits;
use crate::metrics::{AttemptResult, FallbackReason, ResponseCode, Server};

/// Makes transmissions until a server answers or no client can be waiting any more.
pub fn race<'a, N: Network>(
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    deadline: Instant,
) -> impl Future<Output = Result<Vec<u8>, Failed>> {
    let start = Instant::now();
    let (exchange, first) = state.begin_exchange(key, source::current(), start, random::chance());
    let begun = Begun { exchange, start, guard: None, attempt: None, due: Some(first) };
    resume(state, network, key, begun, deadline)
}

/// An exchange that was started elsewhere.
pub struct Begun<'a> {
    /// Its state.
    pub exchange: Exchange,
    /// When it began.
    pub start: Instant,
    /// The guard of the tier server that was queried.
    pub guard: Option<Guard>,
    /// The attempt in flight.
    pub attempt: Option<Attempt<'a>>,
    /// The transmission that is due.
    pub due: Option<Transmission>,
}

/// Makes the further transmissions of an exchange, like [`race`]. Not an async function: its future would
/// hold the arguments a second time.
pub fn resume<'a, N: Network>(
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    begun: Begun<'a>,
    deadline: Instant,
) -> impl Future<Output = Result<Vec<u8>, Failed>> {
    let mut recoveries = state.recoveries();
    let Begun { exchange, start, guard, attempt, due } = begun;
    let mut race = Race {
        state,
        network,
        key,
        start,
        exchange,
        transmissions: u8::from(attempt.is_some()),
        attempts: Attempts::from(attempt),
        fallback: None,
        settles_at: None,
        guard,
    };
    if let Some(transmission) = due {
        race.transmit(transmission, Instant::now());
    }
    async move {
        loop {
            let deadline = deadline.min(state.deadline(&race.exchange));
            let wakes_at = race.wakes_at().min(deadline);
            tokio::select! {
                biased;
                (attempt, outcome) = race.attempts.next() => {
                    match race.on_attempt_ended(&attempt, outcome, Instant::now()) {
                        Next::Done(response) => {
                            race.notify_ended(Instant::now());
                            return Ok(response);
                        }
                        Next::Failed => return race.give_up(Instant::now()),
                        Next::Continue => {}
                    }
                }
                Ok(()) = recoveries.changed() => {
                    if let Some(recovery) = *recoveries.borrow_and_update() {
                        race.on_recovery(recovery, Instant::now());
                    }
                }
                () = sleep_until(wakes_at) => {
                    let now = Instant::now();
                    let is_settled = race.settles_at.is_some_and(|at| now >= at);
                    if now >= deadline || is_settled && !race.leave_tier_without_tcp(now) {
                        return race.give_up(now);
                    }
                    race.on_wakeup(now);
                }
            }
        }
    }
}

struct Race<'a, N> {
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    start: Instant,
    exchange: Exchange,
    attempts: Attempts<'a>,
    /// A failure or a truncated answer, in case nothing better arrives.
    fallback: Option<Vec<u8>>,
    /// When to return the truncated answer if the whole one has not arrived.
    settles_at: Option<Instant>,
    /// The guard of the tier server that was queried last.
    guard: Option<Guard>,
    /// The number of transmissions.
    transmissions: u8,
}

/// What to do after the end of an attempt.
enum Next {
    Done(Vec<u8>),
    Continue,
    /// No server is left.
    Failed,
}

impl<N: Network> Race<'_, N> {
    fn transmit(&mut self, Transmission { target, reason }: Transmission, now: Instant) {
        if reason != Reason::First {
            self.state.metrics().retransmissions.inc();
        }
        // The oldest attempt is the likeliest to be lost.
        if self.attempts.0.len() >= limits::ATTEMPTS_IN_FLIGHT {
            self.attempts.0.remove(0);
        }
        let (network, key) = (self.network, self.key);
        let is_repeated = matches!(reason, Reason::Loss | Reason::Timeout | Reason::Recovery);
        let future = Box::pin(network.ask(target, key, is_repeated));
        self.attempts.0.push(Attempt { target, sent_at: now, future });
        self.transmissions = self.transmissions.saturating_add(1);
        self.state.observers().notify(key, now, || Event::AttemptStarted { target });
        let is_guarded = self.guard.as_ref().is_some_and(|guard| guard.server() == target.server);
        if self.state.is_tier_server(target.server) && !is_guarded {
            self.guard = Some(Guard::new(target.server, FIRST_PAUSE, now.into_std(), random::chance()));
        }
    }

    fn wakes_at(&self) -> Instant {
        let policy_at = self.state.wakes_at(&self.exchange);
        let guard_at = self.guard.as_ref().map(|guard| Instant::from_std(guard.wakes_at()));
        [Some(policy_at), guard_at, self.settles_at].into_iter().flatten().min().unwrap_or(policy_at)
    }

    fn on_wakeup(&mut self, now: Instant) {
        if self.guard_tier(now) {
            return;
        }
        if let Some(transmission) = self.state.due_transmission(&mut self.exchange, now) {
            self.transmit(transmission, now);
        }
    }

    /// A server was silent and has answered another query.
    fn on_recovery(&mut self, recovery: Recovery, now: Instant) {
        self.exchange.note_recovery(recovery, now.into_std());
    }

    /// An attempt has ended.
    fn on_attempt_ended(
        &mut self,
        attempt: &Attempt<'_>,
        outcome: io::Result<Vec<u8>>,
        now: Instant,
    ) -> Next {
        let Attempt { target, sent_at, .. } = *attempt;
        let took = now - sent_at;
        let result = match &outcome {
            Ok(response) => classify_from(self.state, self.key, target, response, now),
            Err(error) => {
                tracing::debug!(%error, transport = target.transport.name(), "a query to an upstream failed");
                AttemptResult::Unreachable
            }
        };
        self.state.record_attempt(self.key, target, result, took, now);
        let Ok(response) = outcome else { return self.on_unreachable(target, now) };
        let is_tier_server = self.state.is_tier_server(target.server);
        let server = if is_tier_server { Server::SharedTier } else { Server::Upstream };
        self.state.metrics().responses.inc((server, ResponseCode::of(&response)));
        let answered = (result != AttemptResult::Failure).then_some(&self.exchange);
        self.state.record_response(target.server, sent_at, answered, now);
        match result {
            AttemptResult::NegativeIgnored => {
                self.drop_attempts(now, |server| server == target.server);
                let next = self.state.next_after_denial(&mut self.exchange, target.server, now);
                self.continue_with(next, now)
            }
            AttemptResult::Failure => {
                self.fallback.get_or_insert(response);
                self.drop_attempts(now, |server| server == target.server);
                self.leave(target.server, FallbackReason::Failure, now)
            }
            AttemptResult::Truncated => {
                if !self.state.should_try_tcp(target.server, now) {
                    if is_tier_server {
                        self.fallback = Some(response);
                        self.drop_attempts(now, |server| server == target.server);
                        return self.leave(target.server, FallbackReason::Failure, now);
                    }
                    self.drop_attempts(now, |_| true);
                    return Next::Done(response);
                }
                // A truncated answer is better than a failure. The server asks for TCP: that is no
                // retransmission.
                self.fallback = Some(response);
                self.settles_at = Some(now + limits::TRUNCATED_TIMEOUT);
                self.exchange.settle();
                let over_tcp = Target { transport: Transport::Tcp, ..target };
                if !self.attempts.0.iter().any(|attempt| attempt.target == over_tcp) {
                    self.transmit(Transmission { target: over_tcp, reason: Reason::First }, now);
                }
                Next::Continue
            }
            _ => {
                if target.transport == Transport::Tcp {
                    self.state.record_tcp_fetch(target.server, true, now);
                }
                self.drop_attempts(now, |_| true);
                Next::Done(response)
            }
        }
    }

    /// No server listens at the address, or the connection broke.
    fn on_unreachable(&mut self, target: Target, now: Instant) -> Next {
        if self.attempts.0.iter().any(|attempt| attempt.target.server == target.server) {
            // An earlier transmission is still in flight. The server may have closed a connection because of
            // a limit; it refuses a datagram only when it is gone.
            if target.transport == Transport::Udp && !self.state.is_tier_server(target.server) {
                self.state.record_refusal(&self.exchange, target.server, now);
            }
            return Next::Continue;
        }
        if self.state.is_tier_server(target.server) {
            // A truncated answer of a tier that accepts no more connections may be empty: the next server has
            // the whole one.
            if self.settles_at.take().is_some() && target.transport == Transport::Tcp {
                self.state.record_tcp_fetch(target.server, false, now);
            }
            return self.leave(target.server, FallbackReason::Unreachable, now);
        }
        if let Some(truncated) = self.fallback.take_if(|_| target.transport == Transport::Tcp) {
            if self.settles_at.is_some() {
                self.state.record_tcp_fetch(target.server, false, now);
            }
            return Next::Done(truncated);
        }
        if let Some(transmission) = self.state.next_after_refusal(&mut self.exchange, target.server, now) {
            self.transmit(transmission, now);
        }
        Next::Continue
    }

    /// Stops querying that server, and queries the next one.
    fn leave(&mut self, server: usize, reason: FallbackReason, now: Instant) -> Next {
        self.guard.take_if(|guard| guard.server() == server);
        let next = self.state.leave(&mut self.exchange, server, now);
        if next.is_some() && self.state.is_tier_server(server) {
            self.state.metrics().fallbacks.inc(reason);
        }
        self.continue_with(next, now)
    }

    /// Leaves a server of the shared tier whose TCP connection has brought nothing of the truncated answer.
    /// Returns whether the exchange continues with the next server.
    fn leave_tier_without_tcp(&mut self, now: Instant) -> bool {
        let mut targets = self.attempts.0.iter().map(|attempt| attempt.target);
        let is_tcp_to_tier =
            |target: &Target| target.transport == Transport::Tcp && self.state.is_tier_server(target.server);
        let Some(Target { server, .. }) = targets.find(is_tcp_to_tier) else { return false };
        self.state.record_tcp_fetch(server, false, now);
        self.settles_at = None;
        self.drop_attempts(now, |attempted| attempted == server);
        match self.leave(server, FallbackReason::Timeout, now) {
            Next::Continue => true,
            Next::Done(response) => {
                self.fallback = Some(response);
                false
            }
            Next::Failed => false,
        }
    }

    /// Sends the next transmission; without one, waits for the attempts in flight.
    fn continue_with(&mut self, next: Option<Transmission>, now: Instant) -> Next {
        if let Some(transmission) = next {
            self.transmit(transmission, now);
        }
        if self.exchange.is_exhausted() && self.attempts.0.is_empty() {
            self.fallback.take().map_or(Next::Failed, Next::Done)
        } else {
            Next::Continue
        }
    }

    /// Does what the guard says about a silent server of the tier. Returns whether another server was queried
    /// in its place.
    fn guard_tier(&mut self, now: Instant) -> bool {
        let Some(guard) = &mut self.guard else { return false };
        let Some(server) = self.state.check_guard(guard, now, random::chance()) else { return false };
        self.leave(server, FallbackReason::Timeout, now);
        true
    }

    /// Drops the attempts at these servers, because a response has made them superfluous.
    fn drop_attempts(&mut self, now: Instant, concerns: impl Fn(usize) -> bool) {
        for Attempt { target, sent_at, .. } in
            self.attempts.0.extract_if(.., |attempt| concerns(attempt.target.server))
        {
            self.state.record_attempt(self.key, target, AttemptResult::Superseded, now - sent_at, now);
        }
    }

    /// Ends the exchange at its deadline, or because no server is left.
    fn give_up(mut self, now: Instant) -> Result<Vec<u8>, Failed> {
        for Attempt { target, sent_at, .. } in self.attempts.0.drain(..) {
            if self.settles_at.is_some() && target.transport == Transport::Tcp {
                self.state.record_tcp_fetch(target.server, false, now);
            }
            self.state.record_attempt(self.key, target, AttemptResult::Timeout, now - sent_at, now);
        }
        self.notify_ended(now);
        self.fallback.ok_or(Failed)
    }

    /// Notifies observers of the end of the exchange.
    fn notify_ended(&self, now: Instant) {
        let ended = || Event::ExchangeEnded { attempts: self.transmissions, took: now - self.start };
        self.state.observers().notify(self.key, now, ended);
    }
}

#[cfg(test)]
mod tests;
