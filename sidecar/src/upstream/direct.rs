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
use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::guard::{FIRST_PAUSE, Guard};
use podlocal_dns::upstream::{Recovery, Transport};
use tokio::time::Instant;

use super::attempts::Attempt;
use super::observers::Event;
use super::outgoing::{receive_good_answer, remove_opt};
use super::query_message::QueryMessage;
use super::race::{self, Begun};
use super::shared_socket::queries::DirectReceiver;
use super::shared_socket::ticket::Ticket;
use super::state::Sent;
use super::{Failed, Servers, random};
use crate::limits;
use crate::metrics::AttemptResult;

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
    let (exchange, first) = state.begin_exchange(&key, source, now, random::chance());
    let mut begun = Begun { exchange, start: now, guard: None, due: None };
    let (target, server) = (first.target, first.target.server);
    if target.transport == Transport::Udp
        && !state.setup.is_backup(server)
        && let Ok(mut query) = sockets.query(server, &key, false, now)
        && let Ok((shared, index)) = sockets.send(server, &mut query, false, now)
    {
        let message = query.into_message();
        state.observers.notify(&key, now, || Event::AttemptStarted { target });
        let guard = || Box::new(Guard::new(server, FIRST_PAUSE, now.into_std(), random::chance()));
        begun.guard = state.is_tier_server(server).then(guard);
        let sent = Sent { target, at: now };
        let direct = DirectExchange { servers, key, message, sent, begun, wakes_at: None, continuation };
        return shared.give_to(index, Box::new(direct));
    }
    begun.due = Some(first);
    continue_in_task(servers, key, begun, None, continuation);
}

/// Lets a task continue an exchange, with the message that is in flight.
fn continue_in_task(
    servers: Servers,
    key: Arc<Key>,
    begun: Begun,
    in_flight: Option<(Sent, QueryMessage, Ticket)>,
    continuation: impl Continuation,
) {
    continuation.continue_with(async move {
        let (state, sockets, key) = (servers.state(), servers.sockets(), &*key);
        let attempt = in_flight.map(|(sent, message, ticket)| {
            let future = Box::pin(sockets.response_to(sent.target.server, key, message, ticket));
            Attempt { sent, future }
        });
        let deadline = begun.start + limits::DEADLINE;
        let outcome = race::resume(state, sockets, key, begun, attempt, deadline).await;
        sockets.forwarded_markers.remove(key);
        outcome
    });
}

/// An exchange whose first query is in flight.
struct DirectExchange<C> {
    servers: Servers,
    key: Arc<Key>,
    message: QueryMessage,
    sent: Sent,
    begun: Begun,
    /// When the policy may have something to do; `None`: not known yet, as for most exchanges until their end.
    wakes_at: Option<Instant>,
    continuation: C,
}

impl<C: Continuation> DirectReceiver for DirectExchange<C> {
    fn question(&self) -> &[u8] {
        self.key.question()
    }

    fn receive(self: Box<Self>, datagram: &mut [u8], now: Instant) -> Result<(), Box<dyn DirectReceiver>> {
        if datagram.len() > limits::UPSTREAM_DIRECT_ANSWER {
            return Err(self);
        }
        let (state, sockets, sent) = (self.servers.state(), self.servers.sockets(), self.sent);
        let path = sockets.paths.get(sent.target.server);
        let receive = |path| receive_good_answer(&self.key, path, &self.message, datagram, now);
        let Some(reading) = path.and_then(receive) else { return Err(self) };
        let length = remove_opt(datagram, &reading);
        let response = datagram.get(..length).unwrap_or_default();
        let answered = Some(&self.begun.exchange);
        state.record_response(&self.key, sent, response, AttemptResult::Answer, answered, now);
        state.observers.notify(&self.key, now, || Event::ExchangeEnded { attempts: 1, took: now - sent.at });
        sockets.forwarded_markers.remove(&self.key);
        self.continuation.answered(response, now);
        Ok(())
    }

    fn next_check(&mut self, recovery: Option<Recovery>, now: Instant) -> Option<Instant> {
        let (state, exchange) = (self.servers.state(), &mut self.begun.exchange);
        if let Some(recovery) = recovery {
            exchange.note_recovery(recovery, now.into_std());
            self.wakes_at = None;
        }
        let guard_at = self.begun.guard.as_ref().map(|guard| Instant::from_std(guard.wakes_at()));
        if guard_at.is_some_and(|at| now >= at) {
            return None;
        }
        let mut wakes_at = *self.wakes_at.get_or_insert_with(|| state.wakes_at(exchange));
        if now >= wakes_at {
            if now >= state.deadline(exchange) {
                return None;
            }
            self.begun.due = state.due_transmission(exchange, now);
            if self.begun.due.is_some() {
                return None;
            }
            wakes_at = *self.wakes_at.insert(state.wakes_at(exchange));
        }
        Some(guard_at.map_or(wakes_at, |at| at.min(wakes_at)))
    }

    fn continue_in_task(self: Box<Self>, ticket: Ticket) {
        let Self { servers, key, message, sent, begun, continuation, .. } = *self;
        continue_in_task(servers, key, begun, Some((sent, message, ticket)), continuation);
    }
}

impl<C> fmt::Debug for DirectExchange<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("DirectExchange");
        fields.field("sent", &self.sent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
