//! An exchange without a task. Nearly every exchange is one query and one good answer, so a task for each
//! would cost more than all the rest: the reader of the socket does its work.
//!
//! | event | what happens |
//! |---|---|
//! | a good answer | the continuation gets it |
//! | a message that is anything else, or an error of the socket | a task continues ([`race::resume`]), and receives that message first |
//! | a large answer ([`limits::UPSTREAM_DIRECT_ANSWER`]) | a task continues: many of them in a row must not delay hits |
//! | a retransmission is due, or the guard of a tier server, or the deadline has passed | a task continues |
//! | the first query goes over TCP, or cannot be sent, or to a backup server | a task makes the exchange |
//!
//! While a server is silent, its exchanges mostly wait for their deadline, because the pod retransmits only
//! one of them. So a slow server costs no tasks either.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard};
use podlocal_dns::upstream::{Exchange, Target, Transmission, Transport};
use tokio::time::Instant;

use super::attempts::Attempt;
use super::network::Sockets;
use super::observers::Event;
use super::query_message::{Variant, remove_opt};
use super::race::{self, Begun};
use super::shared_socket::Ticket;
use super::shared_socket::queries::DirectReceiver;
use super::state::State;
use super::{Failed, Servers, random};
use crate::limits;
use crate::metrics::{AttemptResult, ResponseCode, Server};

/// The recipient of the outcome of an exchange without a task.
pub trait Continuation: Send + 'static {
    /// The exchange has ended with that answer: NOERROR or NXDOMAIN, whole, and without an OPT record.
    fn answered(self, response: &[u8], now: Instant);

    /// The exchange continues in that future, which has to be spawned.
    fn continue_with(self, rest: impl Future<Output = Result<Vec<u8>, Failed>> + Send + 'static);
}

/// Begins an exchange for that source of queries.
pub(super) fn begin(
    servers: Servers,
    key: Arc<Key>,
    source: Option<u16>,
    now: Instant,
    continuation: impl Continuation,
) {
    let (state, sockets) = (servers.state(), servers.sockets());
    let recoveries = state.recovery_count();
    let (exchange, first) = state.begin_exchange(&key, source, now, random::chance());
    let server = first.target.server;
    if first.target.transport == Transport::Udp
        && !state.is_backup(server)
        && let Ok(mut query) = sockets.outgoing(server, &key, false, now)
        && let Ok((shared, sent)) = sockets.send(server, &mut query, now)
    {
        let (variant, with_edns) = query.into_variant();
        state.observers().notify(&key, now, || Event::AttemptStarted { target: first.target });
        let guard = || Box::new(Guard::new(server, FIRST_PAUSE, now.into_std(), random::chance()));
        let direct = DirectExchange {
            server,
            variant,
            with_edns,
            guard: state.is_tier_server(server).then(guard),
            exchange: Some(exchange),
            sent_at: now,
            wakes_at: None,
            recoveries,
            due: None,
            continuation: Some(continuation),
            key,
            servers,
        };
        return shared.give_to(sent, Box::new(direct));
    }
    let begun = Begun { exchange, start: now, guard: None, attempt: None, due: Some(first) };
    continuation.continue_with(async move {
        let outcome =
            race::resume(servers.state(), servers.sockets(), &key, begun, now + limits::DEADLINE).await;
        servers.sockets().forwarded_markers().remove(&key);
        outcome
    });
}

/// An exchange whose first query is in flight.
struct DirectExchange<C> {
    servers: Servers,
    key: Arc<Key>,
    server: usize,
    /// The parts of the message that was sent.
    variant: Variant,
    with_edns: bool,
    sent_at: Instant,
    /// `None` once a task has it.
    exchange: Option<Exchange>,
    /// Boxed, because few servers have one.
    guard: Option<Box<Guard>>,
    /// When the policy may have something to do; `None`: not known yet, as for most exchanges until their end.
    wakes_at: Option<Instant>,
    /// The number of recoveries of servers that the exchange knows.
    recoveries: u32,
    /// The transmission that is due.
    due: Option<Transmission>,
    /// `None` once it was called.
    continuation: Option<C>,
}

impl<C: Continuation> DirectReceiver for DirectExchange<C> {
    fn question(&self) -> &[u8] {
        self.key.question()
    }

    fn sent_at(&self) -> Instant {
        self.sent_at
    }

    fn receive(
        mut self: Box<Self>,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(), Box<dyn DirectReceiver>> {
        if datagram.len() > limits::UPSTREAM_DIRECT_ANSWER {
            return Err(self);
        }
        let (state, sockets) = (self.servers.state(), self.servers.sockets());
        let query = sockets.sent(self.server, &self.key, self.variant.clone(), self.with_edns);
        let reading = query.ok().and_then(|query| query.receive_good_answer(datagram, now));
        let Some((reading, exchange)) = reading.zip(self.exchange.as_ref()) else { return Err(self) };
        let length = remove_opt(datagram, &reading);
        let response = datagram.get(..length).unwrap_or_default();
        let (target, took) = (self.target(), now - self.sent_at);
        let server = if state.is_tier_server(self.server) { Server::SharedTier } else { Server::Upstream };
        state.metrics().responses.inc((server, ResponseCode::of(response)));
        state.record_attempt(&self.key, target, AttemptResult::Answer, took, now);
        state.record_response(self.server, self.sent_at, Some(exchange), now);
        state.observers().notify(&self.key, now, || Event::ExchangeEnded { attempts: 1, took });
        sockets.forwarded_markers().remove(&self.key);
        if let Some(continuation) = self.continuation.take() {
            continuation.answered(response, now);
        }
        Ok(())
    }

    fn next_check(&mut self, now: Instant) -> Option<Instant> {
        let state = self.servers.state();
        let exchange = self.exchange.as_mut()?;
        if let Some(recovery) = state.recovery_since(self.recoveries) {
            self.recoveries = state.recovery_count();
            exchange.note_recovery(recovery, now.into_std());
            self.wakes_at = None;
        }
        let guard_at = self.guard.as_ref().map(|guard| Instant::from_std(guard.wakes_at()));
        if guard_at.is_some_and(|at| now >= at) {
            return None;
        }
        let mut wakes_at = *self.wakes_at.get_or_insert_with(|| state.wakes_at(exchange));
        if now >= wakes_at {
            if now >= state.deadline(exchange) {
                return None;
            }
            self.due = state.due_transmission(exchange, now);
            if self.due.is_some() {
                return None;
            }
            wakes_at = *self.wakes_at.insert(state.wakes_at(exchange));
        }
        Some(guard_at.map_or(wakes_at, |at| at.min(wakes_at)))
    }

    fn continue_in_task(mut self: Box<Self>, ticket: Ticket) {
        let (Some(exchange), Some(continuation)) = (self.exchange.take(), self.continuation.take()) else {
            return;
        };
        let (guard, due) = (self.guard.take().map(|guard| *guard), self.due.take());
        let (servers, key, start) = (self.servers.clone(), Arc::clone(&self.key), self.sent_at);
        let (variant, with_edns, target) = (std::mem::take(&mut self.variant), self.with_edns, self.target());
        continuation.continue_with(async move {
            let (state, sockets): (&State, &Sockets) = (servers.state(), servers.sockets());
            let key = &*key;
            let future: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(async move {
                let mut query = sockets.sent(target.server, key, variant, with_edns)?;
                sockets.response(target.server, ticket, &mut query).await
            });
            let attempt = Some(Attempt { target, sent_at: start, future });
            let begun = Begun { exchange, start, guard, attempt, due };
            let outcome = race::resume(state, sockets, key, begun, start + limits::DEADLINE).await;
            sockets.forwarded_markers().remove(key);
            outcome
        });
    }
}

impl<C> DirectExchange<C> {
    fn target(&self) -> Target {
        Target { server: self.server, transport: Transport::Udp }
    }
}

impl<C> fmt::Debug for DirectExchange<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("DirectExchange");
        fields.field("server", &self.server).field("sent_at", &self.sent_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
