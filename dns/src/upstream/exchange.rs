//! One exchange: its state, and what the responses to its query change. [`due`] says what time changes.

use std::time::{Duration, Instant};

use super::order::{Order, Target, order, transport_after};
use super::round_trip::INITIAL_TIMER;
use super::server::Server;
use super::{Policy, RESEND_SPREAD, Recovery, fraction_of};

mod due;

/// Shorter than what is left of the 4 s within which clients are answered after a server's return.
const MAX_JITTER: Duration = Duration::from_millis(400);

/// The state of one exchange.
#[derive(Debug)]
pub struct Exchange {
    start: Instant,
    /// The source whose retry budget pays for retransmissions.
    source: Option<u16>,
    /// A uniformly distributed random number for jitter.
    chance: u16,
    /// The servers that may still answer, in the order in which they are queried; the first `tried` have been
    /// queried.
    servers: Order,
    tried: usize,
    /// The server of the last transmission, and its time.
    server: usize,
    sent_at: Instant,
    /// How often the exchange has checked whether the last transmission was lost.
    loss_checks: u32,
    /// Transmissions in a row that were lost while the server answered others.
    losses: u32,
    /// How often this exchange retransmitted because the timer of a tier server had expired.
    expiries: u32,
    /// When to retransmit unconditionally, and why.
    again: Option<(Instant, Reason)>,
    /// The last server that refused.
    refused_by: Option<usize>,
    /// Whether every server that was queried has refused, and how often that happened.
    are_all_refusing: bool,
    refusals: u32,
    /// Whether there is an acceptable answer, and the exchange waits only for a better one.
    is_settled: bool,
    /// Whether a backup server has given an answer that does not count.
    is_denied: bool,
}

/// A transmission that the caller is to make now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// The server and the transport.
    pub target: Target,
    /// Why it is sent.
    pub reason: Reason,
}

/// Why a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The first transmission of the exchange.
    First,
    /// The last transmission was lost: the server has answered others.
    Loss,
    /// The server has been silent for its timer.
    Timeout,
    /// The server was silent and has answered another question.
    Recovery,
    /// The last transmission was refused: the server has not received it.
    Refusal,
    /// Another server has failed, or was silent.
    NextServer,
}

impl Policy {
    /// Begins an exchange, for one of the sources if there are several ([`Policy::with_sources`]), and returns
    /// its first transmission. `chance` is a uniformly distributed random number.
    pub fn begin_exchange(
        &mut self,
        source: Option<u16>,
        now: Instant,
        chance: u16,
    ) -> (Exchange, Transmission) {
        self.budgets.record_first_attempt(source);
        let is_ejected = |server: usize| self.servers.get(server).is_some_and(Server::is_ejected);
        let servers = order(&self.setup, is_ejected, self.is_backup_needed(now));
        let server = servers.first().map_or(0, |server| usize::from(*server));
        let mut exchange = Exchange {
            start: now,
            source,
            chance,
            servers,
            tried: 1,
            server,
            sent_at: now,
            loss_checks: 0,
            losses: 0,
            expiries: 0,
            again: None,
            refused_by: None,
            are_all_refusing: false,
            refusals: 0,
            is_settled: false,
            is_denied: false,
        };
        let transmission = self.send(&mut exchange, server, Reason::First, now);
        (exchange, transmission)
    }

    /// Records that a server refuses this query although an earlier transmission of it was accepted, and may
    /// still be answered.
    pub fn record_refusal(&mut self, exchange: &Exchange, server: usize, now: Instant) {
        if let Some(server) = self.servers.get_mut(server) {
            server.record_refusal(exchange.start, now);
        }
    }

    /// Records that a server refuses connections, and returns the transmission to the next server, if there
    /// is one. Otherwise the query is sent again after 1 and 3 s: a query that no server has received is no
    /// load.
    pub fn next_after_refusal(
        &mut self,
        exchange: &mut Exchange,
        server: usize,
        now: Instant,
    ) -> Option<Transmission> {
        self.record_refusal(exchange, server, now);
        exchange.refused_by = Some(server);
        if let Some(next) = exchange.next_server() {
            return Some(self.send(exchange, next, Reason::NextServer, now));
        }
        exchange.schedule_retry_after_refusal(now);
        None
    }

    /// Stops this exchange from querying a server: one of the tier that is silent, or any that has answered
    /// that it cannot answer. Returns the transmission to the next server, if there is one.
    pub fn leave(&mut self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        if let Some(at) = exchange.servers.iter().position(|other| usize::from(*other) == server) {
            exchange.servers.remove(at);
            exchange.tried -= usize::from(at < exchange.tried);
        }
        if let Some(next) = exchange.next_server() {
            exchange.is_settled = false;
            return Some(self.send(exchange, next, Reason::NextServer, now));
        }
        // An earlier server may still answer.
        if let Some(earlier) = exchange.servers.last().map(|server| usize::from(*server)) {
            (exchange.server, exchange.sent_at) = (earlier, exchange.start);
            (exchange.losses, exchange.loss_checks) = (0, 0);
            if exchange.refused_by == Some(earlier) {
                exchange.schedule_retry_after_refusal(now);
            }
        }
        None
    }

    /// Records that a backup server has given an answer that does not count: this exchange queries it no
    /// more. Returns the transmission to the next server.
    pub fn next_after_denial(
        &mut self,
        exchange: &mut Exchange,
        server: usize,
        now: Instant,
    ) -> Option<Transmission> {
        exchange.is_denied = true;
        self.leave(exchange, server, now)
    }

    fn send(&mut self, exchange: &mut Exchange, server: usize, reason: Reason, now: Instant) -> Transmission {
        if exchange.server != server {
            (exchange.server, exchange.losses) = (server, 0);
        }
        (exchange.sent_at, exchange.loss_checks, exchange.are_all_refusing) = (now, 0, false);
        let transport = transport_after(exchange.losses, self.setup.transport);
        self.waiting_since.get_or_insert(now);
        if !self.setup.is_backup(server) {
            self.primaries_waiting_since.get_or_insert(now);
        }
        self.last_sent = Some(now);
        if let Some(server) = self.servers.get_mut(server) {
            server.record_sent(now);
        }
        Transmission { target: Target { server, transport }, reason }
    }
}

impl Exchange {
    /// The source of the query, whose retry budget pays.
    pub fn source(&self) -> Option<u16> {
        self.source
    }

    /// Notes that a silent server has responded: transmissions that were sent to it earlier are lost.
    pub fn note_recovery(&mut self, recovery: Recovery, now: Instant) {
        if recovery.server == self.server && self.sent_at < recovery.sent_at {
            self.again = Some((now + fraction_of(RESEND_SPREAD, self.chance), Reason::Recovery));
        }
    }

    /// Notes that there is an acceptable answer: nothing more is sent.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Whether no server is left that could answer.
    pub fn is_exhausted(&self) -> bool {
        self.servers.is_empty()
    }

    /// When to check next whether the last transmission was lost: after the timer, which each loss and each
    /// check doubles.
    fn loss_check_at(&self, timer: Duration) -> Instant {
        self.sent_at + timer * 2_u32.pow((self.losses + self.loss_checks).min(16))
    }

    /// No server has received the query: sends it again after a pause.
    fn schedule_retry_after_refusal(&mut self, now: Instant) {
        self.are_all_refusing = true;
        let pause = INITIAL_TIMER * 2_u32.pow(self.refusals.min(4));
        self.again = Some((now + pause + self.jitter(pause), Reason::Refusal));
        self.refusals += 1;
    }

    /// The next server that was not tried.
    fn untried(&self) -> Option<usize> {
        self.servers.get(self.tried).map(|server| usize::from(*server))
    }

    fn next_server(&mut self) -> Option<usize> {
        let next = self.untried()?;
        self.tried += 1;
        Some(next)
    }

    /// How long after the expiry of the server's timer this query is retransmitted. The jitter decides which
    /// of the waiting queries is the first; and the pods of a gang, whose first datagrams may have overflowed
    /// the server's buffer together, must not overflow it together again.
    fn jitter(&self, timer: Duration) -> Duration {
        fraction_of((timer / 2).min(MAX_JITTER), self.chance)
    }
}
