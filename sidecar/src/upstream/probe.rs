//! Probes silent servers of the shared tier when an exchange requests it, and finds out whether an ejected
//! server has recovered. Without queries there are no probes.

use std::io;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::guard::PROBE_TIMEOUT;
use podlocal_dns::upstream::liveness::Finding;
use podlocal_dns::upstream::{Target, Transport, first_transport};
use tokio::time::{Instant, timeout_at};

use super::attempts::{Attempt, Attempts};
use super::classify::classify;
use super::network::Network;
use super::state::{Probe, Sent, State};
use crate::limits;
use crate::metrics::AttemptResult;

/// Makes the requested probes, forever. `question` makes a new question for a server, which the tier answers
/// by itself.
pub async fn run(state: &State, network: &impl Network, question: impl Fn(usize) -> Option<Key>) {
    loop {
        let Probe { server, began_at, question: trial } = state.next_probe().await;
        let Some(key) = trial else {
            let keys: Vec<_> = (0..limits::PROBES).filter_map(|_| question(server)).collect();
            let answered = count_answered(state, network, server, began_at, &keys).await;
            state.record_probe(server, began_at, Finding::of(answered, keys.len()), Instant::now());
            continue;
        };
        let target = Target { server, transport: first_transport(state.setup.transport) };
        let response = timeout_at(began_at + limits::TRIAL_TIMEOUT, network.ask(target, &key, false)).await;
        // Any response shows that it is alive.
        if matches!(response, Ok(Ok(_))) {
            state.record_sign_of_life(server, began_at, None, Instant::now());
        }
    }
}

/// The number of probes that are answered in time. All are sent at once, each from a port of its own: load
/// balancing by port spreads them over all replicas.
async fn count_answered(
    state: &State,
    network: &impl Network,
    server: usize,
    began_at: Instant,
    keys: &[Key],
) -> usize {
    let transport = first_transport(state.setup.transport);
    let mut probes = Attempts::default();
    for key in keys {
        let target = Target { server, transport };
        state.metrics.health_checks.inc();
        let future = Box::pin(network.ask(target, key, false));
        probes.0.push(Attempt { sent: Sent { target, at: began_at }, future });
    }
    let deadline = began_at + PROBE_TIMEOUT;
    let mut answered = 0;
    while !probes.0.is_empty() {
        match timeout_at(deadline, probes.next()).await {
            Ok((_, outcome)) => answered += usize::from(is_alive(&outcome, transport)),
            Err(_) => break,
        }
    }
    answered
}

/// Whether that is the answer of a tier that is alive and whose own upstream is alive: otherwise it answers
/// that it cannot answer.
pub(super) fn is_alive(outcome: &io::Result<Vec<u8>>, transport: Transport) -> bool {
    outcome.as_ref().is_ok_and(|response| classify(response, transport) == AttemptResult::Answer)
}
