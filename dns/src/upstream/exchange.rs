//! One question: which transmission is due, and when.

use std::time::{Duration, Instant};

use super::order::{Step, order, transport_after};
use super::round_trip::NO_SAMPLE;
use super::{PATIENCE, PATIENCE_WITH_REFUSAL, Policy, Recovery, SILENT_AFTER, SPREAD, share};

/// How often one question is sent again because it was lost. A server that answers others and not this one is slow with it,
/// not deaf.
const MOST_REPAIRS: u32 = 3;

/// Below what is left of the 4 s within which clients are answered after a server's return.
const LONGEST_JITTER: Duration = Duration::from_millis(400);

/// With the shortest timer, that many looks reach beyond every deadline.
const MOST_LOOKS: u32 = 8;

/// What is known of one question.
#[derive(Debug)]
pub struct Exchange {
    start: Instant,
    /// Who pays for retransmissions.
    source: Option<u16>,
    /// Spreads what many questions would do in one instant.
    chance: u16,
    /// The servers that may still answer, in the order in which they are asked; the first `tried` have been.
    servers: Vec<usize>,
    tried: usize,
    /// The server that was asked last, and when.
    server: usize,
    sent_at: Instant,
    /// How often it was looked whether the last transmission was lost.
    looks: u32,
    /// Transmissions in a row that were lost while the server answered others.
    losses: u32,
    /// How often this question was the one that is sent when the timer of a tier has expired.
    expiries: u32,
    /// When to send again without asking what else is known, and why.
    again: Option<(Instant, Reason)>,
    /// The server that has refused last.
    refused_by: Option<usize>,
    /// Whether every server that was asked has refused, and how often that was so.
    are_all_refusing: bool,
    refusals: u32,
    /// Whether an answer is there that will do, and only a better one is waited for.
    is_settled: bool,
    /// Whether a backup server has answered, and was not believed.
    is_denied: bool,
}

/// A transmission that is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmission {
    /// The server and the transport.
    pub step: Step,
    /// Why it is sent.
    pub reason: Reason,
}

/// Why a question is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// For the first time.
    First,
    /// The last transmission was lost: the server has answered others.
    Loss,
    /// The server has been silent for its timer.
    Timeout,
    /// The server was silent and has answered another question.
    Recovery,
    /// The last transmission was refused: nobody has received it.
    Refusal,
    /// Another server has failed, or was silent.
    NextServer,
}

impl Policy {
    /// A question is asked: its first transmission. `chance` is any number, each as likely.
    pub fn begin(&mut self, now: Instant, chance: u16) -> (Exchange, Transmission) {
        self.begin_for(None, now, chance)
    }

    /// The same for one of several sources ([`Policy::for_sources`]).
    pub fn begin_for(&mut self, source: Option<u16>, now: Instant, chance: u16) -> (Exchange, Transmission) {
        self.budgets.first_attempt(source);
        let servers = order(&self.setup, &self.ejected(), self.is_backup_needed(now));
        let server = servers.first().copied().unwrap_or_default();
        let mut exchange = Exchange {
            start: now,
            source,
            chance,
            servers,
            tried: 1,
            server,
            sent_at: now,
            looks: 0,
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

    /// The transmission that is due now, if there is one.
    pub fn due(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        if exchange.is_settled {
            return None;
        }
        if let Some((_, reason)) = exchange.again.take_if(|(at, _)| now >= *at) {
            let is_lost = reason == Reason::Recovery && exchange.losses < MOST_REPAIRS;
            exchange.losses += u32::from(is_lost);
            return Some(self.send(exchange, exchange.server, reason, now));
        }
        if exchange.are_all_refusing {
            return None;
        }
        if self.backup_at(exchange).is_some_and(|at| now >= at)
            && let Some(backup) = exchange.next_server()
        {
            self.servers[exchange.server].failed(exchange.start, now);
            return Some(self.send(exchange, backup, Reason::NextServer, now));
        }
        let server = self.servers.get(exchange.server)?;
        if exchange.looks < MOST_LOOKS && now >= exchange.look_at(server.round_trip_timer()) {
            // The timer may have become shorter meanwhile: one look stands for all that are due.
            while exchange.looks < MOST_LOOKS && now >= exchange.look_at(server.round_trip_timer()) {
                exchange.looks += 1;
            }
            let is_lost = server.has_answered_later(exchange.sent_at);
            if is_lost && exchange.losses < MOST_REPAIRS && self.budgets.take(exchange.source) {
                exchange.losses += 1;
                return Some(self.send(exchange, exchange.server, Reason::Loss, now));
            }
            let is_patient = self.is_of_tier(exchange.server) || is_lost;
            if !is_patient && let Some(next) = self.next_primary(exchange) {
                self.servers[exchange.server].failed(exchange.start, now);
                return Some(self.send(exchange, next, Reason::NextServer, now));
            }
        }
        let server = self.servers.get_mut(exchange.server)?;
        // A question that is not late itself has nothing to find out.
        let is_late = now >= exchange.sent_at + server.round_trip_timer();
        if !is_late
            || server.expires_at().is_none_or(|at| now < at + exchange.jitter(server.round_trip_timer()))
        {
            return None;
        }
        // A quick server that has just answered others and is silent has lost this one, in all likelihood.
        let is_loss = server.is_quick() && server.has_answered_later(exchange.start);
        exchange.losses += u32::from(is_loss && exchange.losses < MOST_REPAIRS);
        server.expired(now);
        server.failed(exchange.start, now);
        exchange.expiries += 1;
        // A tier that lives waits for the same cluster DNS: only the second question in a row goes around it.
        let goes_around = self.is_of_tier(exchange.server) && exchange.expiries > 1;
        let next = if goes_around { self.next_primary(exchange) } else { None };
        Some(self.send(exchange, next.unwrap_or(exchange.server), Reason::Timeout, now))
    }

    /// When [`Policy::due`] or the deadline is to be looked at next, if nothing happens until then.
    pub fn wakes_at(&self, exchange: &Exchange) -> Instant {
        if exchange.is_settled {
            return self.deadline(exchange);
        }
        let server = self.servers.get(exchange.server);
        let look_at = server.filter(|_| exchange.looks < MOST_LOOKS);
        let look_at = look_at.map(|server| exchange.look_at(server.round_trip_timer()));
        let expires_at = server.and_then(|server| {
            let late_at = exchange.sent_at + server.round_trip_timer();
            let jitter = exchange.jitter(server.round_trip_timer());
            server.expires_at().map(|at| (at + jitter).max(late_at))
        });
        let again_at = exchange.again.map(|(at, _)| at);
        let (look_at, expires_at) =
            if exchange.are_all_refusing { (None, None) } else { (look_at, expires_at) };
        let times = [again_at, look_at, expires_at, self.backup_at(exchange), Some(self.deadline(exchange))];
        times.into_iter().flatten().min().unwrap_or(exchange.start)
    }

    /// When nobody can be waiting any more, or nobody is there to wait for.
    pub fn deadline(&self, exchange: &Exchange) -> Instant {
        let patience = if exchange.are_all_refusing { PATIENCE_WITH_REFUSAL } else { PATIENCE };
        let deadline = exchange.start + patience;
        let Some(dead_at) = self.primaries_dead_at().filter(|_| exchange.is_denied) else { return deadline };
        // A server that was dead may be back since it was last asked: each question gives it the time that it needs.
        let late_at = match self.servers.get(exchange.server) {
            Some(server) if !exchange.are_all_refusing => exchange.sent_at + server.round_trip_timer(),
            _ => dead_at,
        };
        dead_at.max(late_at).min(deadline)
    }

    /// A server refuses this question, while an earlier transmission of it still waits there: it may be answered yet.
    pub fn refuses(&mut self, exchange: &Exchange, server: usize, now: Instant) {
        if let Some(server) = self.servers.get_mut(server) {
            server.refused(exchange.start, now);
        }
    }

    /// A server refuses connections: the transmission to the next one, if there is one. Else the question is sent again after
    /// 1 and 3 s: what nobody has received is no load.
    pub fn refused(&mut self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        self.refuses(exchange, server, now);
        exchange.refused_by = Some(server);
        if let Some(next) = exchange.next_server() {
            return Some(self.send(exchange, next, Reason::NextServer, now));
        }
        exchange.waits_for_refusing(now);
        None
    }

    /// A server of the tier is left, or one has answered that it cannot: this exchange asks it no more. The transmission
    /// to the next one, if there is one.
    pub fn leave(&mut self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        if let Some(at) = exchange.servers.iter().position(|it| *it == server) {
            exchange.servers.remove(at);
            exchange.tried -= usize::from(at < exchange.tried);
        }
        if let Some(next) = exchange.next_server() {
            exchange.is_settled = false;
            return Some(self.send(exchange, next, Reason::NextServer, now));
        }
        // An earlier one may answer yet.
        if let Some(earlier) = exchange.servers.last().copied() {
            (exchange.server, exchange.sent_at) = (earlier, exchange.start);
            (exchange.losses, exchange.looks) = (0, 0);
            if exchange.refused_by == Some(earlier) {
                exchange.waits_for_refusing(now);
            }
        }
        None
    }

    /// A backup server has answered what is not believed: this exchange asks it no more. The transmission to the next one.
    pub fn denied(&mut self, exchange: &mut Exchange, server: usize, now: Instant) -> Option<Transmission> {
        exchange.is_denied = true;
        self.leave(exchange, server, now)
    }

    /// When this question goes on to a backup server, if nothing is answered until then.
    fn backup_at(&self, exchange: &Exchange) -> Option<Instant> {
        let next = exchange.servers.get(exchange.tried)?;
        let silent_at = self.primaries_silent_at(SILENT_AFTER).filter(|_| self.setup.is_backup(*next))?;
        Some(silent_at + share(SPREAD, exchange.chance))
    }

    /// The next server that was not tried, unless it is a backup.
    fn next_primary(&self, exchange: &mut Exchange) -> Option<usize> {
        let next = exchange.servers.get(exchange.tried)?;
        if self.setup.is_backup(*next) { None } else { exchange.next_server() }
    }

    fn send(&mut self, exchange: &mut Exchange, server: usize, reason: Reason, now: Instant) -> Transmission {
        if exchange.server != server {
            (exchange.server, exchange.losses) = (server, 0);
        }
        (exchange.sent_at, exchange.looks, exchange.are_all_refusing) = (now, 0, false);
        let transport = transport_after(exchange.losses, self.setup.transport);
        self.waiting_since.get_or_insert(now);
        if !self.setup.is_backup(server) {
            self.primaries_waiting_since.get_or_insert(now);
        }
        self.last_sent = Some(now);
        if let Some(server) = self.servers.get_mut(server) {
            server.sent(now);
        }
        Transmission { step: Step { server, transport }, reason }
    }
}

impl Exchange {
    /// For whom the question is asked.
    pub fn source(&self) -> Option<u16> {
        self.source
    }

    /// A server that was silent has responded: what was sent to it earlier is lost.
    pub fn recovered(&mut self, recovery: Recovery, now: Instant) {
        if recovery.server == self.server && self.sent_at < recovery.sent_at {
            self.again = Some((now + share(SPREAD, self.chance), Reason::Recovery));
        }
    }

    /// An answer is there that will do: nothing is sent any more.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Whether no server is left that could answer.
    pub fn is_exhausted(&self) -> bool {
        self.servers.is_empty()
    }

    /// When it is due to look whether the last transmission was lost: after the timer, which each loss and each look doubles.
    fn look_at(&self, timer: Duration) -> Instant {
        self.sent_at + timer * 2_u32.pow((self.losses + self.looks).min(16))
    }

    /// Nobody has received the question: it is sent again after a pause.
    fn waits_for_refusing(&mut self, now: Instant) {
        self.are_all_refusing = true;
        let pause = NO_SAMPLE * 2_u32.pow(self.refusals.min(4));
        self.again = Some((now + pause + self.jitter(pause), Reason::Refusal));
        self.refusals += 1;
    }

    fn next_server(&mut self) -> Option<usize> {
        let next = self.servers.get(self.tried).copied()?;
        self.tried += 1;
        Some(next)
    }

    /// How long after the server's timer has expired this question is sent again. It is chance which of those that wait is the
    /// first; and the pods of a gang, whose first datagrams may have overflowed the server's buffer together, must not
    /// overflow it together again.
    fn jitter(&self, timer: Duration) -> Duration {
        share((timer / 2).min(LONGEST_JITTER), self.chance)
    }
}
