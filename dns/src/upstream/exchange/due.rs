//! Which transmission of an exchange is due, and when.

use std::time::Instant;

use super::{Exchange, Reason, Transmission};
use crate::upstream::{EXCHANGE_TIMEOUT, Policy, REFUSED_TIMEOUT, RESEND_SPREAD, SILENT_AFTER, fraction_of};

/// How often one query is retransmitted because it was lost. A server that answers other queries and not this
/// one is slow with it, and has received it.
const MAX_LOSS_RETRANSMISSIONS: u32 = 3;

/// With the shortest timer, so many checks, each after twice the time, last longer than every deadline.
const MAX_LOSS_CHECKS: u32 = 8;

/// When an exchange has something to do, if nothing happens until then.
#[derive(Default)]
struct Schedule {
    /// It retransmits unconditionally.
    again_at: Option<Instant>,
    /// It queries a backup server.
    backup_at: Option<Instant>,
    /// It looks whether the last transmission was lost.
    loss_check_at: Option<Instant>,
    /// It retransmits because the server has been silent for its timer. A query that is not late itself has no
    /// reason to be retransmitted.
    expires_at: Option<Instant>,
}

impl Policy {
    fn schedule(&self, exchange: &Exchange) -> Schedule {
        if exchange.is_settled {
            return Schedule::default();
        }
        let again_at = exchange.again.map(|(at, _)| at);
        let Some(server) = self.servers.get(exchange.server).filter(|_| !exchange.are_all_refusing) else {
            return Schedule { again_at, ..Schedule::default() };
        };
        let timer = server.late_after();
        let may_check = exchange.loss_checks < MAX_LOSS_CHECKS;
        let expires_at = server.expires_at().map(|at| at + exchange.jitter(timer));
        Schedule {
            again_at,
            backup_at: self.backup_at(exchange),
            loss_check_at: may_check.then(|| exchange.loss_check_at(timer)),
            expires_at: expires_at.map(|at| at.max(exchange.sent_at + timer)),
        }
    }

    /// When to look at [`Policy::due_transmission`] and the deadline next, if nothing happens until then.
    pub fn wakes_at(&self, exchange: &Exchange) -> Instant {
        let Schedule { again_at, backup_at, loss_check_at, expires_at } = self.schedule(exchange);
        let times = [again_at, backup_at, loss_check_at, expires_at];
        times.into_iter().flatten().fold(self.deadline(exchange), Instant::min)
    }

    /// The transmission that is due now, if any.
    pub fn due_transmission(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        let Schedule { again_at, backup_at, loss_check_at, expires_at } = self.schedule(exchange);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_due(again_at)
            && let Some((_, reason)) = exchange.again.take()
        {
            let is_lost = reason == Reason::Recovery && exchange.losses < MAX_LOSS_RETRANSMISSIONS;
            exchange.losses += u32::from(is_lost);
            return Some(self.send(exchange, exchange.server, reason, now));
        }
        if is_due(backup_at)
            && let Some(backup) = exchange.next_server()
        {
            self.servers[exchange.server].record_failure(exchange.start, now);
            return Some(self.send(exchange, backup, Reason::NextServer, now));
        }
        if is_due(loss_check_at)
            && let Some(transmission) = self.check_for_loss(exchange, now)
        {
            return Some(transmission);
        }
        if is_due(expires_at) { self.retransmit_to_silent_server(exchange, now) } else { None }
    }

    fn check_for_loss(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        let server = self.servers.get(exchange.server)?;
        // The timer may have become shorter meanwhile: one check stands for all that are due.
        while exchange.loss_checks < MAX_LOSS_CHECKS && now >= exchange.loss_check_at(server.late_after()) {
            exchange.loss_checks += 1;
        }
        let is_lost = server.has_answered_later(exchange.sent_at);
        if is_lost && exchange.losses < MAX_LOSS_RETRANSMISSIONS && self.budgets.try_spend(exchange.source) {
            exchange.losses += 1;
            return Some(self.send(exchange, exchange.server, Reason::Loss, now));
        }
        if is_lost || self.is_tier_server(exchange.server) {
            return None;
        }
        let next = self.next_primary(exchange)?;
        self.servers[exchange.server].record_failure(exchange.start, now);
        Some(self.send(exchange, next, Reason::NextServer, now))
    }

    /// One query of the pod is retransmitted, for all that wait for the server.
    fn retransmit_to_silent_server(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Transmission> {
        let server = self.servers.get_mut(exchange.server)?;
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

    /// When this query goes to a backup server, if no server answers until then.
    fn backup_at(&self, exchange: &Exchange) -> Option<Instant> {
        let next = exchange.untried()?;
        let silent_at = self.primaries_silent_at(SILENT_AFTER).filter(|_| self.setup.is_backup(next))?;
        Some(silent_at + fraction_of(RESEND_SPREAD, exchange.chance))
    }

    /// The next server that was not tried, unless it is a backup server.
    fn next_primary(&self, exchange: &mut Exchange) -> Option<usize> {
        let next = exchange.untried()?;
        if self.setup.is_backup(next) { None } else { exchange.next_server() }
    }
}
