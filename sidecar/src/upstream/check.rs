//! Checks whether a silent server of the shared tier is alive, when an exchange wants to know.

use std::io;

use tokio::time::{Instant, timeout_at};

use super::attempts::{Attempt, Attempts};
use super::guard::check_patience;
use super::liveness::Finding;
use super::network::Network;
use super::order::{self, Step};
use super::race::judge;
use super::state::State;
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{ExchangeResult, Transport};

/// Makes the checks that are wanted, for ever. `question` makes a new question for a server, one that the tier answers
/// by itself.
pub async fn watch(state: &State, network: &impl Network, question: impl Fn(usize) -> Option<Key>) {
    loop {
        let (server, begun_at) = state.check_wanted().await;
        let keys: Vec<_> = (0..limits::CHECKS).filter_map(|_| question(server)).collect();
        let answered = answered(state, network, server, begun_at, &keys).await;
        state.checked(server, begun_at, Finding::of(answered, keys.len()), Instant::now());
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
    let transport = order::first_transport(state.transport());
    let mut checks = Attempts::default();
    for key in keys {
        let step = Step { server, transport };
        state.metrics().probed();
        checks.0.push(Attempt { step, asked_at: begun_at, future: Box::pin(network.ask(step, key)) });
    }
    let deadline = begun_at + check_patience(state.shortest_pause());
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
    outcome.as_ref().is_ok_and(|response| judge(response, transport) == ExchangeResult::Answer)
}
