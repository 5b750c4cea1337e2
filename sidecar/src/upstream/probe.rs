//! Watches for the return of servers that are down, so that no client's question has to.
//!
//! ```text
//!   well                 waits; now and then closes connections that have been idle for too long
//!   a server is down     every half second, give or take a fifth, a question to each of them;
//!                        while others are well the pauses grow to four seconds
//!   it responds          State tells the exchanges under way, and this waits again
//! ```

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::attempts::{Attempt, Attempts};
use super::check::is_alive;
use super::network::Network;
use super::order::{self, Step};
use super::random;
use super::state::State;
use crate::cache::key::Key;
use crate::limits;

/// Watches, for ever. `question` makes a new question for a server; `tidy` closes idle connections.
pub async fn watch(
    state: &State,
    network: &impl Network,
    question: impl Fn(usize) -> Option<Key>,
    tidy: impl Fn(),
) {
    loop {
        tidy();
        // Trouble or time over: both end the wait.
        let _ = timeout(limits::UPSTREAM_TIDY, state.trouble()).await;
        watch_for_return(state, network, &question, &tidy).await;
    }
}

/// Probes until all servers are well.
async fn watch_for_return(
    state: &State,
    network: &impl Network,
    question: impl Fn(usize) -> Option<Key>,
    tidy: impl Fn(),
) {
    let mut probes = Attempts::default();
    let mut round = 0;
    let mut next_at = Instant::now() + interval(round, true, random::chance());
    while !state.to_probe(Instant::now()).is_empty() {
        tokio::select! {
            (Attempt { step, asked_at, .. }, outcome) = probes.next() => {
                // Of an upstream any response will do: it is alive. A tier is of use only with an upstream of its own.
                match state.is_of_tier(step.server) {
                    true if is_alive(&outcome, step.transport) => {
                        state.tier_responded(step, asked_at, Instant::now());
                    }
                    false if outcome.is_ok() => state.responded(step, asked_at, Instant::now()),
                    _ => {}
                }
            }
            // What was well is not any more: somebody waits.
            () = state.trouble() => {
                let now = Instant::now();
                if state.condition(now).is_down {
                    next_at = next_at.min(now + interval(round, true, random::chance()));
                }
            }
            () = sleep_until(next_at) => {
                let now = Instant::now();
                let servers = state.to_probe(now);
                // One round without a response is a lost datagram, or a slow server: no news.
                if round == ROUNDS_BEFORE_NEWS {
                    tracing::warn!(upstreams = servers.len(), "upstreams do not respond; watching for their return");
                }
                tidy();
                let steps = servers.iter().flat_map(|server| order::probes(state.transport(), *server, round));
                // What a tier is asked first is what it has to answer.
                let first = order::first_transport(state.transport());
                let steps = steps.filter(|step| !state.is_of_tier(step.server) || step.transport == first);
                for step in steps {
                    if let Some(key) = question(step.server)
                        && probes.0.len() < limits::PROBES_UNDER_WAY
                    {
                        state.metrics().probed();
                        let future = Box::pin(probe(network, step, key));
                        probes.0.push(Attempt { step, asked_at: now, future });
                    }
                }
                round += 1;
                next_at = now + interval(round, state.condition(now).is_down, random::chance());
            }
        }
    }
    if round > ROUNDS_BEFORE_NEWS {
        tracing::info!("all upstreams respond again");
    }
}

const ROUNDS_BEFORE_NEWS: u32 = 2;

async fn probe(network: &impl Network, step: Step, key: Key) -> std::io::Result<Vec<u8>> {
    let deadline = Instant::now() + limits::PROBE_PATIENCE;
    match timeout_at(deadline, network.ask(step, &key)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// The time to the next round: the interval, a fifth more or less, so that the pods of a cluster do not probe together.
/// While not all servers are down nobody waits for it, so it doubles every four rounds.
fn interval(round: u32, is_down: bool, chance: u16) -> Duration {
    let doublings = if is_down { 0 } else { (round / 4).min(8) };
    let interval = (limits::PROBE_INTERVAL * (1 << doublings)).min(limits::LONGEST_PROBE_INTERVAL);
    interval * 4 / 5 + random::share(interval * 2 / 5, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_spread_by_a_fifth_and_a_fresh_answer_is_there_within_a_second() {
        assert_eq!(interval(0, true, 0), Duration::from_millis(400));
        assert_eq!(interval(100, true, u16::MAX), Duration::from_millis(600));
        assert!(interval(100, true, u16::MAX) + limits::ASK_AGAIN_SPREAD < Duration::from_secs(1));
    }

    #[test]
    fn a_server_that_nobody_waits_for_is_probed_less_and_less_and_is_used_again_within_ten_seconds() {
        let pauses = [0, 3, 4, 8, 12, 100].map(|round| interval(round, false, u16::MAX).as_millis());
        assert_eq!(pauses, [600, 600, 1200, 2400, 4800, 4800]);
    }
}
