//! Asks the cluster's DNS: which server when, until one answers or the deadline is there.
//!
//! ```text
//!   0 s    first server, UDP
//!   1 s    the next one (or the same, from a new port), while the first is still listened to
//!   2 s    ...
//!   3 s    ...
//!   4 s    the deadline: failed
//! ```
//!
//! A server that fails at once (SERVFAIL, REFUSED, nobody listens) makes the next one be asked at once; when
//! every server has been asked, the next round keeps to the times above, so that a server that is being
//! restarted is not hit harder for it. A truncated answer is asked for again by TCP, at the same server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cache::key::Key;
use crate::metrics::{ExchangeResult, Metrics, Transport};
use crate::query::Query;
use crate::wire::{Flags, Message, Rcode};

pub mod nameservers;
pub mod question;
pub mod tcp;
pub mod udp;

/// Whoever can answer a question: the servers below, or a script in tests.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for the answer to the question of that key, until the deadline at most. A response that says that the
    /// server cannot answer (SERVFAIL and the like) is given when nobody has a better one.
    fn ask(&self, key: &Key, deadline: Instant) -> impl Future<Output = Result<Vec<u8>, Failed>> + Send;

    /// What is known of the servers at this moment.
    fn condition(&self) -> Condition;

    /// Takes one question out of the retry budget, for asking again what has been answered; `false`: do not.
    fn may_ask_again(&self) -> bool;

    /// Whether that query is one of our own that has come back: the upstream leads to ourselves.
    fn is_loop(&self, query: &Query) -> bool;
}

/// How the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// Whether all of them are known to fail or to be silent: what is asked now will probably not be answered.
    pub is_down: bool,
    /// When one of them last gave any response.
    pub last_response: Option<Instant>,
}

/// No server gave any response in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no upstream answered in time")]
pub struct Failed;

/// The time between one attempt and the next.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts for one question, at most. With the interval they end before the deadline does.
const ATTEMPTS: usize = 4;

/// The servers of the settings, in order of preference.
#[derive(Debug, Clone)]
pub struct Servers {
    addresses: Vec<SocketAddr>,
    metrics: Metrics,
}

impl Servers {
    /// Servers at these addresses; there must be one at least.
    pub fn new(addresses: Vec<SocketAddr>, metrics: Metrics) -> Self {
        Self { addresses, metrics }
    }
}

impl Upstream for Servers {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        let start = Instant::now();
        let mut attempts: JoinSet<Option<Vec<u8>>> = JoinSet::new();
        let mut started = 0;
        let mut failed = 0;
        let mut failure = None;
        let mut next_attempt = start;
        loop {
            tokio::select! {
                biased;
                Some(response) = attempts.join_next() => {
                    match response.ok().flatten() {
                        Some(response) if !is_failure(&response) => return Ok(response),
                        response => failure = response.or(failure),
                    }
                    failed += 1;
                    if failed == started && started >= self.addresses.len() && failure.is_some() {
                        break;
                    }
                    if started < self.addresses.len() {
                        next_attempt = Instant::now();
                    }
                }
                () = sleep_until(next_attempt), if started < attempts_for(self.addresses.len()) => {
                    let address = self.addresses[started % self.addresses.len()];
                    attempts.spawn(attempt(address, key.clone(), deadline, self.metrics.clone()));
                    started += 1;
                    next_attempt = Instant::now() + ATTEMPT_INTERVAL;
                }
                () = sleep_until(deadline) => break,
            }
        }
        failure.ok_or(Failed)
    }

    fn condition(&self) -> Condition {
        Condition::default()
    }

    fn may_ask_again(&self) -> bool {
        true
    }

    fn is_loop(&self, _query: &Query) -> bool {
        false
    }
}

/// Every server is asked at least once.
fn attempts_for(servers: usize) -> usize {
    ATTEMPTS.max(servers)
}

/// One server, asked by UDP, and by TCP when the answer was truncated. `None`: no response.
async fn attempt(address: SocketAddr, key: Key, deadline: Instant, metrics: Metrics) -> Option<Vec<u8>> {
    let response = counted(Transport::Udp, deadline, &metrics, udp::exchange(address, &key)).await?;
    if !is_truncated(&response) {
        return Some(response);
    }
    // What was cut short is better than nothing, when TCP is blocked.
    counted(Transport::Tcp, deadline, &metrics, tcp::exchange(address, &key)).await.or(Some(response))
}

async fn counted(
    transport: Transport,
    deadline: Instant,
    metrics: &Metrics,
    exchange: impl Future<Output = std::io::Result<Vec<u8>>>,
) -> Option<Vec<u8>> {
    let start = Instant::now();
    let outcome = timeout_at(deadline, exchange).await;
    let result = match &outcome {
        Ok(Ok(response)) if is_failure(response) => ExchangeResult::Failure,
        Ok(Ok(response)) if is_truncated(response) => ExchangeResult::Truncated,
        Ok(Ok(_)) => ExchangeResult::Answer,
        Ok(Err(error)) => {
            tracing::debug!(%error, transport = transport.name(), "an exchange with an upstream failed");
            ExchangeResult::Unreachable
        }
        Err(_) => ExchangeResult::Silent,
    };
    metrics.exchange(transport, result, start.elapsed());
    outcome.ok()?.ok()
}

/// Whether another server might know better: everything but NOERROR and NXDOMAIN.
fn is_failure(response: &[u8]) -> bool {
    Message::new(response)
        .is_none_or(|message| !matches!(message.flags().rcode(), Rcode::NO_ERROR | Rcode::NXDOMAIN))
}

fn is_truncated(response: &[u8]) -> bool {
    Message::new(response).is_some_and(|message| message.flags().has(Flags::TC))
}
