//! One exchange: which transmission is due, and when.

use std::time::{Duration, Instant};

use super::order::{Order, Target, order, transport_after};
use super::round_trip::INITIAL_TIMER;
use super::server::Server;
use super::{EXCHANGE_TIMEOUT, Policy, REFUSED_TIMEOUT, RESEND_SPREAD, Recovery, SILENT_AFTER, fraction_of};

/// How often one query is retransmitted because it was lost. A server that answers other queries and not this
/// one is slow with it, and has received it.
const MAX_LOSS_RETRANSMISSIONS: u32 = 3;

/// Shorter than what is left of the 4 s within which clients are answered after a server's return.
const MAX_JITTER: Duration = Duration::from_millis(400);

/// With the shortest timer, so many checks, each after twice the time, last longer than every deadline.
const MAX_LOSS_CHECKS: u32 = 8;

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
    /// Begins an exchange and returns its first transmission. `chance` is a uniformly distributed random
    /// number.
    pub fn begin_exchange(&mut self, now: Instant, chance: u16) -> (Exchange, Transmission) {
        self.begin_exchange_for(None, now, chance)
    }

    /// The same for one of several sources ([`Policy::with_sources`]).
    pub fn begin_exchange_for(
        &mut self,
        source: Option<u16>,
        now: Instant,
        chance: u16,
    ) -> (Exchange, Transmission) {
        self.budgets.record_first_attempt(source);
        let is_ejected = |server: usize| self.servers.get(server).is_some_and(Server::is_ejected);
        let servers = order(&self.setup, is_ejected, self.is_backup_needed(now));
        let server = servers.get(0).unwrap_or_default();
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

    /// The transmission that is due now, if any.
    pub fn due_transmission(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        if exchange.is_settled {
            return None;
        }
        if let Some((_, reason)) = exchange.again.take_if(|(at, _)| now >= *at) {
            let is_lost = reason == Reason::Recovery && exchange.losses < MAX_LOSS_RETRANSMISSIONS;
            exchange.losses += u32::from(is_lost);
            return Some(self.send(exchange, exchange.server, reason, now));
        }
        if exchange.are_all_refusing {
            return None;
        }
        if self.backup_at(exchange).is_some_and(|at| now >= at)
            && let Some(backup) = exchange.next_server()
        {
            self.servers[exchange.server].record_failure(exchange.start, now);
            return Some(self.send(exchange, backup, Reason::NextServer, now));
        }
        let server = self.servers.get(exchange.server)?;
        if exchange.loss_checks < MAX_LOSS_CHECKS && now >= exchange.loss_check_at(server.late_after()) {
            // The timer may have become shorter meanwhile: one check stands for all that are due.
            while exchange.loss_checks < MAX_LOSS_CHECKS && now >= exchange.loss_check_at(server.late_after())
            {
                exchange.loss_checks += 1;
            }
            let is_lost = server.has_answered_later(exchange.sent_at);
            if is_lost
                && exchange.losses < MAX_LOSS_RETRANSMISSIONS
                && self.budgets.try_spend(exchange.source)
            {
                exchange.losses += 1;
                return Some(self.send(exchange, exchange.server, Reason::Loss, now));
            }
            let must_wait = self.is_tier_server(exchange.server) || is_lost;
            if !must_wait && let Some(next) = self.next_primary(exchange) {
                self.servers[exchange.server].record_failure(exchange.start, now);
                return Some(self.send(exchange, next, Reason::NextServer, now));
            }
        }
        let server = self.servers.get_mut(exchange.server)?;
        // A query that is not late itself has no reason to be retransmitted.
        let is_late = now >= exchange.sent_at + server.late_after();
        if !is_late || server.expires_at().is_none_or(|at| now < at + exchange.jitter(server.late_after())) {
            return None;
        }
        // A fast server that has just answered other queries and is silent has very likely lost this one.
        let is_loss = server.is_fast() && server.has_answered_later(exchange.start);
        exchange.losses += u32::from(is_loss && exchange.losses < MAX_LOSS_RETRANSMISSIONS);
        server.record_expiry(now);
        server.record_failure(exchange.start, now);
        exchange.expiries += 1;
        // A tier that is alive waits for the same cluster DNS: only the second retransmission in a row goes
        // to the next server.
        let skips_tier = self.is_tier_server(exchange.server) && exchange.expiries > 1;
        let next = if skips_tier { self.next_primary(exchange) } else { None };
        Some(self.send(exchange, next.unwrap_or(exchange.server), Reason::Timeout, now))
    }

    /// When to look at [`Policy::due_transmission`] and the deadline next, if nothing happens until then.
    pub fn wakes_at(&self, exchange: &Exchange) -> Instant {
        if exchange.is_settled {
            return self.deadline(exchange);
        }
        let server = self.servers.get(exchange.server);
        let loss_check_at = server.filter(|_| exchange.loss_checks < MAX_LOSS_CHECKS);
        let loss_check_at = loss_check_at.map(|server| exchange.loss_check_at(server.late_after()));
        let expires_at = server.and_then(|server| {
            let late_at = exchange.sent_at + server.late_after();
            let jitter = exchange.jitter(server.late_after());
            server.expires_at().map(|at| (at + jitter).max(late_at))
        });
        let again_at = exchange.again.map(|(at, _)| at);
        let (loss_check_at, expires_at) =
            if exchange.are_all_refusing { (None, None) } else { (loss_check_at, expires_at) };
        let times =
            [again_at, loss_check_at, expires_at, self.backup_at(exchange), Some(self.deadline(exchange))];
        times.into_iter().flatten().min().unwrap_or(exchange.start)
    }

    /// When the exchange ends because no client can be waiting any more, or all servers refuse.
    pub fn deadline(&self, exchange: &Exchange) -> Instant {
        let timeout = if exchange.are_all_refusing { REFUSED_TIMEOUT } else { EXCHANGE_TIMEOUT };
        let deadline = exchange.start + timeout;
        let Some(dead_at) = self.primaries_dead_at().filter(|_| exchange.is_denied) else { return deadline };
        // A dead server may have recovered since it was last queried: each query gives it the time that it
        // needs.
        let late_at = match self.servers.get(exchange.server) {
            Some(server) if !exchange.are_all_refusing => exchange.sent_at + server.late_after(),
            _ => dead_at,
        };
        dead_at.max(late_at).min(deadline)
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
        if let Some(at) = exchange.servers.remove(server) {
            exchange.tried -= usize::from(at < exchange.tried);
        }
        if let Some(next) = exchange.next_server() {
            exchange.is_settled = false;
            return Some(self.send(exchange, next, Reason::NextServer, now));
        }
        // An earlier server may still answer.
        if let Some(earlier) = exchange.servers.last() {
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

    /// When this query goes to a backup server, if no server answers until then.
    fn backup_at(&self, exchange: &Exchange) -> Option<Instant> {
        let next = exchange.servers.get(exchange.tried)?;
        let silent_at = self.primaries_silent_at(SILENT_AFTER).filter(|_| self.setup.is_backup(next))?;
        Some(silent_at + fraction_of(RESEND_SPREAD, exchange.chance))
    }

    /// The next server that was not tried, unless it is a backup server.
    fn next_primary(&self, exchange: &mut Exchange) -> Option<usize> {
        let next = exchange.servers.get(exchange.tried)?;
        if self.setup.is_backup(next) { None } else { exchange.next_server() }
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

    fn next_server(&mut self) -> Option<usize> {
        let next = self.servers.get(self.tried)?;
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
