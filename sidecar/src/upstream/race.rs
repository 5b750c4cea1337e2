//! One exchange: attempts, each begun while the earlier ones are still listened to; the first good answer wins.
//!
//! ```text
//!   0 s      the first server, UDP
//!   0.3 s    the next healthy one by UDP, or the same by TCP       each takes a token of the retry budget;
//!   0.9 s    and so on                                             without one it is left out
//!   2.1 s
//!   4 s      the deadline: a failure if one was told, or failed
//! ```
//!
//! A server of the shared tier that says nothing for some 200 ms is checked; unless it is found alive by the
//! end of the pause, or as soon as it fails, the exchange leaves it for the next server. That costs no token: who has no
//! tier asks that server, too.
//!
//! `order` has the table of who is next; the pauses are longer for a slow server (`round_trip`). When the
//! servers were down and one is back, whoever waits asks it again, spread over a tenth of a second.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::attempts::{Attempt, Attempts};
use super::guard::{Due, Guard};
use super::liveness::Finding;
use super::network::Network;
use super::observers::Event;
use super::order::{Schedule, Step};
use super::state::{Recovery, State};
use super::{Failed, random};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{ExchangeResult, Left, ResponseCode, Server, Transport};
use crate::wire::{Flags, Message, Rcode};

/// Asks until somebody answers or the deadline is there.
pub async fn race(
    state: &State,
    network: &impl Network,
    key: &Key,
    deadline: Instant,
) -> Result<Vec<u8>, Failed> {
    let start = Instant::now();
    let mut recoveries = state.recoveries();
    let mut race = Race {
        state,
        network,
        key,
        start,
        schedule: state.begun(start),
        attempts: Attempts::for_one(),
        second_best: None,
        asks_again: None,
        is_looked_at: false,
        guard: None,
        around_at: None,
        asked: 0,
    };
    if let Some(step) = race.schedule.at_once() {
        race.attempt(step, start);
    }
    loop {
        let wakes_at = race.wakes_at().min(deadline);
        tokio::select! {
            biased;
            (attempt, outcome) = race.attempts.next() => {
                if let Some(response) = race.ended(&attempt, outcome, Instant::now()) {
                    race.over(Instant::now());
                    return Ok(response);
                }
            }
            Ok(()) = recoveries.changed() => {
                if let Some(recovery) = *recoveries.borrow_and_update() {
                    race.recovered(recovery, Instant::now(), random::chance());
                }
            }
            () = sleep_until(wakes_at) => {
                if wakes_at == deadline {
                    return race.given_up(Instant::now());
                }
                race.woken(Instant::now());
            }
        }
    }
}

struct Race<'a, N> {
    state: &'a State,
    network: &'a N,
    key: &'a Key,
    start: Instant,
    schedule: Schedule,
    attempts: Attempts<'a>,
    /// A failure or a truncated answer, for the case that nothing better comes.
    second_best: Option<Vec<u8>>,
    /// When to ask whom again, because it is back.
    asks_again: Option<(Instant, Step)>,
    /// Whether the silence of this exchange was brought to notice.
    is_looked_at: bool,
    /// What is to be done about the server of the tier that was asked last.
    guard: Option<Guard>,
    /// When cluster DNS is asked beside a tier that is alive and silent.
    around_at: Option<Instant>,
    /// How many attempts there were.
    asked: u8,
}

impl<N: Network> Race<'_, N> {
    fn attempt(&mut self, step: Step, now: Instant) {
        let (network, key) = (self.network, self.key);
        self.attempts.0.push(Attempt { step, asked_at: now, future: Box::pin(network.ask(step, key)) });
        self.asked = self.asked.saturating_add(1);
        self.state.observers().note(key, now, || Event::Asked { step });
        self.wait_behind(step, now);
        let is_guarded = self.guard.as_ref().is_some_and(|guard| guard.server() == step.server);
        if self.state.is_of_tier(step.server) && !is_guarded {
            self.guard = Some(Guard::new(step.server, self.state.shortest_pause(), now, random::chance()));
            self.around_at.get_or_insert(self.start + limits::TIER_PATIENCE);
        }
    }

    /// An attempt beyond the first, if it can be paid for. Whether it was made.
    fn hedge(&mut self, step: Step, now: Instant) -> bool {
        let may = self.has_room() && self.state.take();
        if may {
            self.state.metrics().hedged();
            self.attempt(step, now);
        } else {
            self.wait_behind(step, now);
        }
        may
    }

    /// Asks the next server in place of one of the tier. Whether there is one.
    fn leave(&mut self, server: usize, reason: Left, now: Instant) -> bool {
        self.guard.take_if(|guard| guard.server() == server);
        self.schedule.strike_out(server);
        let next = self.schedule.at_once();
        if let Some(step) = next {
            self.state.metrics().tier_left(reason);
            self.state.metrics().hedged();
            self.attempt(step, now);
        }
        next.is_some()
    }

    fn wait_behind(&mut self, step: Step, now: Instant) {
        self.schedule.wait(now, self.state.pause(step.server));
    }

    fn has_room(&self) -> bool {
        self.attempts.0.len() < limits::ATTEMPTS_UNDER_WAY
    }

    /// An attempt has ended: the response to hand on, when the exchange is over with it.
    fn ended(
        &mut self,
        attempt: &Attempt<'_>,
        outcome: io::Result<Vec<u8>>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let Attempt { step, asked_at, .. } = *attempt;
        let took = now - asked_at;
        let result = match &outcome {
            Ok(response) => judge(response, step.transport),
            Err(error) => {
                tracing::debug!(%error, transport = step.transport.name(), "an upstream cannot be asked");
                ExchangeResult::Unreachable
            }
        };
        self.state.exchanged(self.key, step, result, took, now);
        let left = if let Ok(response) = outcome {
            let is_of_tier = self.state.is_of_tier(step.server);
            let server = if is_of_tier { Server::Tier } else { Server::Upstream };
            self.state.metrics().response(server, ResponseCode::of(&response));
            self.state.responded(step, asked_at, now);
            self.state.took(step.server, took, result != ExchangeResult::Failure);
            match result {
                ExchangeResult::Failure => {
                    self.second_best.get_or_insert(response);
                    self.schedule.strike_out(step.server);
                    self.overtake(now, |server| server == step.server);
                    Left::Failure
                }
                ExchangeResult::Truncated => {
                    // What was cut short is better than a failure.
                    self.second_best = Some(response);
                    self.schedule.strike_out(step.server);
                    self.fetch_whole(Step { transport: Transport::Tcp, ..step }, now);
                    return None;
                }
                _ => {
                    self.overtake(now, |_| true);
                    return Some(response);
                }
            }
        } else if self.state.is_of_tier(step.server) && self.is_asked(step.server) {
            // A connection that was closed, by a bound perhaps, while the same question waits there.
            return None;
        } else {
            self.state.failed(step.server, self.start, now);
            Left::Unreachable
        };
        if self.state.is_of_tier(step.server) && self.leave(step.server, left, now) {
            return None;
        }
        let goes_on = self.schedule.at_once().is_some_and(|step| self.hedge(step, now));
        if goes_on || !self.attempts.0.is_empty() { None } else { self.second_best.take() }
    }

    /// A truncated answer is asked for again by TCP. The server wants it so: that is no retry.
    fn fetch_whole(&mut self, step: Step, now: Instant) {
        if !self.attempts.0.iter().any(|attempt| attempt.step == step) {
            self.attempt(step, now);
        }
    }

    /// The servers are back: what was asked before the one that responded was asked is lost.
    fn recovered(&mut self, Recovery { step, asked_at }: Recovery, now: Instant, chance: u16) {
        if self.attempts.0.iter().all(|attempt| attempt.asked_at < asked_at) {
            self.asks_again = Some((now + random::share(limits::ASK_AGAIN_SPREAD, chance), step));
        }
    }

    /// When something is to be done, if nothing happens until then.
    fn wakes_at(&self) -> Instant {
        let looks_at = (!self.is_looked_at).then_some(self.start + limits::SILENCE);
        let asks_again_at = self.asks_again.map(|(at, _)| at);
        let guard_at = self.guard.as_ref().map(Guard::wakes_at);
        let around_at = self.guard.as_ref().and(self.around_at);
        let times = [self.schedule.next_at(), looks_at, asks_again_at, guard_at, around_at];
        times.into_iter().flatten().min().unwrap_or(self.start + FAR)
    }

    /// Does what is due.
    fn woken(&mut self, now: Instant) {
        if !self.is_looked_at && now >= self.start + limits::SILENCE {
            self.is_looked_at = true;
            self.state.look(now);
        }
        if self.leaves_tier(now) {
            return;
        }
        if let Some((_, step)) = self.asks_again.take_if(|(at, _)| now >= *at) {
            self.schedule.restart();
            // Once for each recovery, and for what is known to be lost: that needs no budget.
            if self.has_room() {
                self.state.metrics().hedged();
                self.attempt(step, now);
            }
        } else if let Some(step) = self.schedule.due(now) {
            self.hedge(step, now);
        }
    }

    /// Does what is due about a silent server of the tier. Whether another one was asked in its place.
    fn leaves_tier(&mut self, now: Instant) -> bool {
        let Some(guard) = &mut self.guard else { return false };
        match guard.due(now) {
            Some(Due::Check { server, since }) => self.state.want_check(server, since),
            Some(Due::Leave { server, unless_alive_since }) => {
                match self.state.finding(server, unless_alive_since) {
                    Some(Finding::Alive) => *guard = guard.again(now, random::chance()),
                    // Who was woken too late to have it checked, or whose check is under way.
                    None if guard.postpone(self.state.shortest_pause(), now) => {
                        self.state.want_check(server, unless_alive_since);
                    }
                    _ => return self.leave(server, Left::Silent, now),
                }
            }
            None => {}
        }
        if self.around_at.take_if(|at| now >= *at).is_none() {
            return false;
        }
        // It lives, so cluster DNS is slow: that costs a token like any attempt beyond the first.
        let server = guard.server();
        self.schedule.strike_out(server);
        self.schedule.at_once().is_some_and(|step| self.hedge(step, now))
    }

    /// Whether a question to that server is under way.
    fn is_asked(&self, server: usize) -> bool {
        self.attempts.0.iter().any(|attempt| attempt.step.server == server)
    }

    /// An answer has made the attempts at these servers superfluous. Those that had their time and got no response
    /// of any kind have failed.
    fn overtake(&mut self, now: Instant, concerns: impl Fn(usize) -> bool) {
        let overtaken = self.attempts.0.extract_if(.., |attempt| concerns(attempt.step.server));
        for Attempt { step, asked_at, .. } in overtaken {
            let took = now - asked_at;
            self.state.exchanged(self.key, step, ExchangeResult::Overtaken, took, now);
            if took >= self.state.pause(step.server) {
                self.state.failed(step.server, self.start, now);
            }
        }
    }

    /// The deadline is there.
    fn given_up(mut self, now: Instant) -> Result<Vec<u8>, Failed> {
        let mut silent = Vec::new();
        for Attempt { step, asked_at, .. } in self.attempts.0.drain(..) {
            self.state.exchanged(self.key, step, ExchangeResult::Silent, now - asked_at, now);
            if !silent.contains(&step.server) {
                silent.push(step.server);
                self.state.failed(step.server, self.start, now);
            }
        }
        self.over(now);
        self.second_best.ok_or(Failed)
    }

    /// Tells who listens that the exchange is over.
    fn over(&self, now: Instant) {
        let over = || Event::Over { attempts: self.asked, took: now - self.start };
        self.state.observers().note(self.key, now, over);
    }
}

/// Behind every deadline.
const FAR: Duration = Duration::from_secs(3600);

/// What a response is worth: everything but NOERROR and NXDOMAIN may be known better by another server.
pub(super) fn judge(response: &[u8], transport: Transport) -> ExchangeResult {
    let Some(message) = Message::new(response) else { return ExchangeResult::Failure };
    let flags = message.flags();
    if !matches!(flags.rcode(), Rcode::NO_ERROR | Rcode::NXDOMAIN) {
        ExchangeResult::Failure
    } else if flags.has(Flags::TC) && transport == Transport::Udp {
        ExchangeResult::Truncated
    } else {
        ExchangeResult::Answer
    }
}

#[cfg(test)]
mod tests;
