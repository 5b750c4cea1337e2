//! Finds out whether a silent server of the shared tier is alive, when an exchange wants to know, and whether an ejected
//! server is back. Where nobody asks anything, nobody finds out.

use std::io;

use podlocal_dns::upstream::guard::CHECK_PATIENCE;
use podlocal_dns::upstream::liveness::Finding;
use podlocal_dns::upstream::{Step, Transport, first_transport};
use tokio::time::{Instant, timeout_at};

use super::attempts::{Attempt, Attempts};
use super::judge::judge;
use super::network::Network;
use super::state::{Check, State};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::AttemptResult;

/// Makes the checks that are wanted, for ever. `question` makes a new question for a server, one that the tier answers
/// by itself.
pub async fn watch(state: &State, network: &impl Network, question: impl Fn(usize) -> Option<Key>) {
    loop {
        match state.check_wanted().await {
            Check::Tier { server, begun_at } => {
                let keys: Vec<_> = (0..limits::CHECKS).filter_map(|_| question(server)).collect();
                let answered = answered(state, network, server, begun_at, &keys).await;
                state.checked(server, begun_at, Finding::of(answered, keys.len()), Instant::now());
            }
            Check::Trial { server, key, begun_at } => {
                let step = Step { server, transport: first_transport(state.transport()) };
                let response =
                    timeout_at(begun_at + limits::TRIAL_PATIENCE, network.ask(step, &key, false)).await;
                // Any response will do: it is alive.
                if matches!(response, Ok(Ok(_))) {
                    state.responded(server, begun_at, None, Instant::now());
                }
            }
        }
    }
}

/// How many of the questions are answered in time. All are asked at once, each from a port of its own: what spreads
/// clients over replicas shows them all.
async fn answered(
    state: &State,
    network: &impl Network,
    server: usize,
    begun_at: Instant,
    keys: &[Key],
) -> usize {
    let transport = first_transport(state.transport());
    let mut checks = Attempts::default();
    for key in keys {
        let step = Step { server, transport };
        state.metrics().health_checked();
        checks.0.push(Attempt { step, asked_at: begun_at, future: Box::pin(network.ask(step, key, false)) });
    }
    let deadline = begun_at + CHECK_PATIENCE;
    let mut answered = 0;
    while !checks.0.is_empty() {
        match timeout_at(deadline, checks.next()).await {
            Ok((_, outcome)) => answered += usize::from(is_alive(&outcome, transport)),
            Err(_) => break,
        }
    }
    answered
}

/// Whether that is the answer of a tier that is alive, and so is its own upstream: else it says that it cannot answer.
pub(super) fn is_alive(outcome: &io::Result<Vec<u8>>, transport: Transport) -> bool {
    outcome.as_ref().is_ok_and(|response| judge(response, transport) == AttemptResult::Answer)
}
