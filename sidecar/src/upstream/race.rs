//! One exchange: transmissions as the policy says, all of them listened to; the first good answer wins.
//!
//! `podlocal_dns::upstream` has the rules, which know neither sockets nor tasks. What is added here:
//!
//! | what happens | the exchange |
//! |---|---|
//! | a truncated answer | is fetched over TCP immediately, and given as it is when TCP has brought nothing after a second, or does not lately; that of the shared tier is asked of the next server then |
//! | a backup server does not know a name | goes on, unless `podlocal_dns::upstream::backup` believes it |
//! | a server of the shared tier is silent for some 200 ms | has it checked, and leaves it unless it is alive |
//! | an answer | drops every other transmission |

use std::io;

use podlocal_dns::upstream::guard::{Due, FIRST_PAUSE, Guard};
use podlocal_dns::upstream::liveness::Finding;
use podlocal_dns::upstream::{Exchange, Reason, Recovery, Step, Transmission, Transport};
use tokio::time::{Instant, sleep_until};

use super::attempts::{Attempt, Attempts};
use super::judge::judge_of;
use super::network::Network;
use super::observers::Event;
use super::state::State;
use super::{Failed, random};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{AttemptResult, FallbackReason, ResponseCode, Server};

/// Asks until a server answers or nobody can be waiting any more.
pub async fn race(
    state: &State,
    network: &impl Network,
    key: &Key,
    deadline: Instant,
) -> Result<Vec<u8>, Failed> {
    let start = Instant::now();
    let mut recoveries = state.recoveries();
    let (exchange, first) = state.begin(key, start, random::chance());
    let mut race = Race {
        state,
        network,
        key,
        start,
        exchange,
        attempts: Attempts::for_one(),
        second_best: None,
        settles_at: None,
        guard: None,
        asked: 0,
    };
    race.transmit(first, start);
    loop {
        let deadline = deadline.min(state.deadline(&race.exchange));
        let wakes_at = race.wakes_at().min(deadline);
        tokio::select! {
            biased;
            (attempt, outcome) = race.attempts.next() => {
                match race.ended(&attempt, outcome, Instant::now()) {
                    Next::Done(response) => {
                        race.over(Instant::now());
                        return Ok(response);
                    }
                    Next::Failed => return race.given_up(Instant::now()),
                    Next::GoOn => {}
                }
            }
            Ok(()) = recoveries.changed() => {
                if let Some(recovery) = *recoveries.borrow_and_update() {
                    race.recovered(recovery, Instant::now());
                }
            }
            () = sleep_until(wakes_at) => {
                let now = Instant::now();
                let is_settled = race.settles_at.is_some_and(|at| now >= at);
                if now >= deadline || is_settled && !race.leaves_tier_without_tcp(now) {
                    return race.given_up(now);
                }
                race.woken(now);
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
    /// A failure or a truncated answer, for the case that nothing better comes.
    second_best: Option<Vec<u8>>,
    /// When the truncated answer is given, for want of the whole one.
    settles_at: Option<Instant>,
    /// What is to be done about the server of the tier that was asked last.
    guard: Option<Guard>,
    /// How many transmissions there were.
    asked: u8,
}

/// What follows from the end of an attempt.
enum Next {
    Done(Vec<u8>),
    GoOn,
    /// No server is left.
    Failed,
}

impl<N: Network> Race<'_, N> {
    fn transmit(&mut self, Transmission { step, reason }: Transmission, now: Instant) {
        if reason != Reason::First {
            self.state.metrics().retransmitted();
        }
        // The oldest one is the likeliest to be lost.
        if self.attempts.0.len() >= limits::ATTEMPTS_UNDER_WAY {
            self.attempts.0.remove(0);
        }
        let (network, key) = (self.network, self.key);
        let is_repeated = matches!(reason, Reason::Loss | Reason::Timeout | Reason::Recovery);
        let future = Box::pin(network.ask(step, key, is_repeated));
        self.attempts.0.push(Attempt { step, asked_at: now, future });
        self.asked = self.asked.saturating_add(1);
        self.state.observers().note(key, now, || Event::Asked { step });
        let is_guarded = self.guard.as_ref().is_some_and(|guard| guard.server() == step.server);
        if self.state.is_of_tier(step.server) && !is_guarded {
            self.guard = Some(Guard::new(step.server, FIRST_PAUSE, now.into_std(), random::chance()));
        }
    }

    fn wakes_at(&self) -> Instant {
        let policy_at = self.state.wakes_at(&self.exchange);
        let guard_at = self.guard.as_ref().map(|guard| Instant::from_std(guard.wakes_at()));
        [Some(policy_at), guard_at, self.settles_at].into_iter().flatten().min().unwrap_or(policy_at)
    }

    fn woken(&mut self, now: Instant) {
        if self.check_tier(now) {
            return;
        }
        if let Some(transmission) = self.state.due(&mut self.exchange, now) {
            self.transmit(transmission, now);
        }
    }

    /// A server was silent and has answered another question.
    fn recovered(&mut self, recovery: Recovery, now: Instant) {
        self.exchange.recovered(recovery, now.into_std());
    }

    /// An attempt has ended.
    fn ended(&mut self, attempt: &Attempt<'_>, outcome: io::Result<Vec<u8>>, now: Instant) -> Next {
        let Attempt { step, asked_at, .. } = *attempt;
        let took = now - asked_at;
        let result = match &outcome {
            Ok(response) => judge_of(self.state, self.key, step, response, now),
            Err(error) => {
                tracing::debug!(%error, transport = step.transport.name(), "an upstream cannot be asked");
                AttemptResult::Unreachable
            }
        };
        self.state.exchanged(self.key, step, result, took, now);
        let Ok(response) = outcome else { return self.unreachable(step, now) };
        let is_of_tier = self.state.is_of_tier(step.server);
        let server = if is_of_tier { Server::SharedTier } else { Server::Upstream };
        self.state.metrics().response(server, ResponseCode::of(&response));
        let answered = (result != AttemptResult::Failure).then_some(&self.exchange);
        self.state.responded(step.server, asked_at, answered, now);
        match result {
            AttemptResult::NegativeIgnored => {
                self.drop_attempts(now, |server| server == step.server);
                let next = self.state.denied(&mut self.exchange, step.server, now);
                self.goes_on(next, now)
            }
            AttemptResult::Failure => {
                self.second_best.get_or_insert(response);
                self.drop_attempts(now, |server| server == step.server);
                self.leave(step.server, FallbackReason::Failure, now)
            }
            AttemptResult::Truncated => {
                if !self.state.is_tcp_tried(step.server, now) {
                    if is_of_tier {
                        self.second_best = Some(response);
                        self.drop_attempts(now, |server| server == step.server);
                        return self.leave(step.server, FallbackReason::Failure, now);
                    }
                    self.drop_attempts(now, |_| true);
                    return Next::Done(response);
                }
                // What was cut short is better than a failure. The server wants TCP: that is no retransmission.
                self.second_best = Some(response);
                self.settles_at = Some(now + limits::TRUNCATED_PATIENCE);
                self.exchange.settle();
                let over_tcp = Step { transport: Transport::Tcp, ..step };
                if !self.attempts.0.iter().any(|attempt| attempt.step == over_tcp) {
                    self.transmit(Transmission { step: over_tcp, reason: Reason::First }, now);
                }
                Next::GoOn
            }
            _ => {
                if step.transport == Transport::Tcp {
                    self.state.fetched_over_tcp(step.server, true, now);
                }
                self.drop_attempts(now, |_| true);
                Next::Done(response)
            }
        }
    }

    /// Nobody listens there, or the connection broke.
    fn unreachable(&mut self, step: Step, now: Instant) -> Next {
        if self.attempts.0.iter().any(|attempt| attempt.step.server == step.server) {
            // What was sent earlier still waits there. A connection may have been closed by a bound; a datagram is refused where
            // nobody is any more.
            if step.transport == Transport::Udp && !self.state.is_of_tier(step.server) {
                self.state.refuses(&self.exchange, step.server, now);
            }
            return Next::GoOn;
        }
        if self.state.is_of_tier(step.server) {
            // A truncated answer of a tier that has no room for connections may be empty: the next server has the whole one.
            if self.settles_at.take().is_some() && step.transport == Transport::Tcp {
                self.state.fetched_over_tcp(step.server, false, now);
            }
            return self.leave(step.server, FallbackReason::Unreachable, now);
        }
        if let Some(truncated) = self.second_best.take_if(|_| step.transport == Transport::Tcp) {
            if self.settles_at.is_some() {
                self.state.fetched_over_tcp(step.server, false, now);
            }
            return Next::Done(truncated);
        }
        if let Some(transmission) = self.state.refused(&mut self.exchange, step.server, now) {
            self.transmit(transmission, now);
        }
        Next::GoOn
    }

    /// This exchange asks that server no more, but the next one.
    fn leave(&mut self, server: usize, reason: FallbackReason, now: Instant) -> Next {
        self.guard.take_if(|guard| guard.server() == server);
        let next = self.state.leave(&mut self.exchange, server, now);
        if next.is_some() && self.state.is_of_tier(server) {
            self.state.metrics().fell_back(reason);
        }
        self.goes_on(next, now)
    }

    /// A connection to the shared tier has brought nothing of what it truncated. Whether the next server is asked for it.
    fn leaves_tier_without_tcp(&mut self, now: Instant) -> bool {
        let mut steps = self.attempts.0.iter().map(|attempt| attempt.step);
        let is_left = |step: &Step| step.transport == Transport::Tcp && self.state.is_of_tier(step.server);
        let Some(Step { server, .. }) = steps.find(is_left) else { return false };
        self.state.fetched_over_tcp(server, false, now);
        self.settles_at = None;
        self.drop_attempts(now, |attempted| attempted == server);
        match self.leave(server, FallbackReason::Timeout, now) {
            Next::GoOn => true,
            Next::Done(response) => {
                self.second_best = Some(response);
                false
            }
            Next::Failed => false,
        }
    }

    /// A server is left: the next one is asked, or those are waited for that may still answer.
    fn goes_on(&mut self, next: Option<Transmission>, now: Instant) -> Next {
        if let Some(transmission) = next {
            self.transmit(transmission, now);
        }
        if self.exchange.is_exhausted() && self.attempts.0.is_empty() {
            self.second_best.take().map_or(Next::Failed, Next::Done)
        } else {
            Next::GoOn
        }
    }

    /// Does what is due about a silent server of the tier. Whether another one was asked in its place.
    fn check_tier(&mut self, now: Instant) -> bool {
        let Some(guard) = &mut self.guard else { return false };
        match guard.due(now.into_std()) {
            Some(Due::Check { server, since }) => self.state.want_check(server, since),
            Some(Due::Leave { server, unless_alive_since }) => {
                match self.state.finding(server, unless_alive_since) {
                    Some(Finding::Alive) => {
                        let again = guard.again(now.into_std(), random::chance());
                        self.guard = Some(again);
                    }
                    None if guard.postpone(now.into_std()) => {
                        self.state.want_check(server, unless_alive_since);
                    }
                    _ => {
                        self.leave(server, FallbackReason::Timeout, now);
                        return true;
                    }
                }
            }
            None => {}
        }
        false
    }

    /// An answer has made the attempts at these servers superfluous.
    fn drop_attempts(&mut self, now: Instant, concerns: impl Fn(usize) -> bool) {
        for Attempt { step, asked_at, .. } in
            self.attempts.0.extract_if(.., |attempt| concerns(attempt.step.server))
        {
            self.state.exchanged(self.key, step, AttemptResult::Superseded, now - asked_at, now);
        }
    }

    /// Nobody waits any more, or no server is left.
    fn given_up(mut self, now: Instant) -> Result<Vec<u8>, Failed> {
        for Attempt { step, asked_at, .. } in self.attempts.0.drain(..) {
            if self.settles_at.is_some() && step.transport == Transport::Tcp {
                self.state.fetched_over_tcp(step.server, false, now);
            }
            self.state.exchanged(self.key, step, AttemptResult::Timeout, now - asked_at, now);
        }
        self.over(now);
        self.second_best.ok_or(Failed)
    }

    /// Tells observers that the exchange is over.
    fn over(&self, now: Instant) {
        let over = || Event::Over { attempts: self.asked, took: now - self.start };
        self.state.observers().note(self.key, now, over);
    }
}

#[cfg(test)]
mod tests;
