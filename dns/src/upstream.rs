//! How servers are asked: retransmission, backoff, server order, health, and when an expired answer will do.
//!
//! A real CoreDNS under load does not drop queries: it accepts all of them and becomes slow. So a transmission that is not
//! answered is no evidence of loss by itself, and 10,000 pods that repeat their questions turn slow into dead. The rules
//! are those of TCP's loss detection (RACK-TLP, RFC 8985) with the timer of RFC 6298, for questions instead of segments:
//!
//! | what is known | what follows |
//! |---|---|
//! | nothing yet: no server has answered anything | the timer of the server is one second (RFC 8961 section 4) |
//! | the server has answered | SRTT + 4 RTTVAR, at least 100 ms |
//! | the server answered a question that was sent at about the same time or later, and this one has waited for the timer | it was lost: sent again, three times at most and if the budget allows, the second time over TCP. The timer of the question doubles |
//! | the server has answered nothing since the last question was sent, for its timer | *one* question of the pod that has waited for SRTT + 4 RTTVAR is sent again; the timer of the server doubles, to 3.5 s at most |
//! | the silent server answers a question | what was sent to it before that question is lost: sent again, spread over 0.1 s |
//! | there is another server that was not tried | a question that has waited for the timer is sent to that one, once |
//! | the server refuses the connection | the next server is asked immediately; the only one after 1 and 3 s, for each question: nobody has received it |
//! | the server answers that it cannot (SERVFAIL, REFUSED, ..) | the next server is asked immediately; this one no more |
//! | there are backup servers, which may know other names | `backup` |
//!
//! ```text
//!   Policy     what is known of the servers; shared by all exchanges
//!   Exchange   what is known of one question
//!   server     one server: its timer, its health           round_trip   SRTT and RTTVAR
//!   budget     how often a loss is repaired                order        which server is asked first
//!   guard      when a silent tier is checked and left      liveness     what its checks say
//!   backup     when servers that may know other names are asked, and believed
//! ```

pub mod backup;
pub mod budget;
mod exchange;
pub mod guard;
pub mod liveness;
mod order;
pub mod round_trip;
mod server;

pub use exchange::{Exchange, Reason, Transmission};
pub use order::{Step, Transport, first_transport};
pub use server::Standing;

use std::time::{Duration, Instant};

use podlocal_settings::value::UpstreamTransport;

use budget::Budgets;
use server::Server;

/// How long a client may wait for an answer, and so an exchange goes on: glibc waits 5 s, sends again, and waits as long
/// (resolv.conf(5)); 15 s covers the resolvers in docs/resolvers.md.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long an exchange goes on when every server refuses connections: below the 5 s after which glibc asks again, so that
/// the client gets an answer, and long enough for a server that restarts.
pub const PATIENCE_WITH_REFUSAL: Duration = Duration::from_secs(4);

/// No server has answered anything for so long while questions were waiting: an expired answer is given immediately.
pub const SILENT_AFTER: Duration = Duration::from_secs(2);

/// No server has answered anything for so long that a shared tier sends its clients to cluster DNS. Not sooner: a cluster
/// DNS that is merely slow would get the questions of all pods.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// The time over which questions are spread that are sent again together.
pub const SPREAD: Duration = Duration::from_millis(100);

/// Who the servers are, and how they are asked.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many servers there are.
    pub servers: usize,
    /// How many of them, the first ones, are the shared tier.
    pub tier: usize,
    /// How many of them, the last ones, are backup servers.
    pub backup: usize,
    /// The transports that the settings allow.
    pub transport: UpstreamTransport,
}

/// What is known of the servers.
#[derive(Debug)]
pub struct Policy {
    setup: Setup,
    servers: Vec<Server>,
    budgets: Budgets,
    /// When the first question was sent that no server has answered anything since.
    waiting_since: Option<Instant>,
    /// The same of the servers that are no backup.
    primaries_waiting_since: Option<Instant>,
    last_response: Option<Instant>,
    /// When anything was last sent.
    last_sent: Option<Instant>,
}

/// How the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// Whether no server has answered anything for [`SILENT_AFTER`] of asking, or all refuse: an expired answer will do.
    pub is_down: bool,
    /// Whether all servers refuse: nobody is there to ask.
    pub is_gone: bool,
    /// Whether no server has answered anything for [`DEAD_AFTER`].
    pub is_dead: bool,
    /// When a server last gave any response.
    pub last_response: Option<Instant>,
}

/// A server was silent, or nothing was known of it, and has responded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The server.
    pub server: usize,
    /// When the question was sent that it responded to. What was sent earlier is lost, what was sent later is not.
    pub sent_at: Instant,
}

impl Policy {
    /// All servers are healthy, and nothing is known of how long they take.
    pub fn new(setup: Setup) -> Self {
        let servers = std::iter::repeat_with(Server::default).take(setup.servers).collect();
        Self {
            setup,
            servers,
            budgets: Budgets::new(0),
            waiting_since: None,
            primaries_waiting_since: None,
            last_response: None,
            last_sent: None,
        }
    }

    /// A server gave a response, of whatever kind, to a question that was sent at that time. A recovery is to be told to
    /// every exchange ([`Exchange::recovered`]), and each is to look anew when it wakes: its timer may have changed.
    pub fn responded(&mut self, server: usize, sent_at: Instant, now: Instant) -> Option<Recovery> {
        self.waiting_since = None;
        self.primaries_waiting_since.take_if(|_| !self.setup.is_backup(server));
        self.last_response = Some(now);
        let is_news = self.servers.get_mut(server)?.responded(sent_at, now);
        is_news.then_some(Recovery { server, sent_at })
    }

    /// Gives so many sources of questions a retry budget each ([`budget`]).
    #[must_use]
    pub fn for_sources(self, sources: usize) -> Self {
        Self { budgets: Budgets::new(sources), ..self }
    }

    /// A server answered the question of an exchange, and so has time for another one.
    pub fn answered(&mut self, exchange: &Exchange, took: Duration) {
        if took <= round_trip::NO_SAMPLE {
            self.budgets.quick_answer(exchange.source());
        }
    }

    /// A server of the shared tier has answered a check: it lives, and is silent because it waits.
    pub fn is_alive(&mut self, server: usize, now: Instant) {
        (self.waiting_since, self.primaries_waiting_since) = (None, None);
        if let Some(server) = self.servers.get_mut(server) {
            server.is_alive(now);
        }
    }

    /// A server of the shared tier answered none of the checks that began at `since`: it is ejected immediately.
    pub fn is_dead(&mut self, server: usize, since: Instant, now: Instant) {
        if let Some(server) = self.servers.get_mut(server) {
            server.is_dead(since, now);
        }
    }

    /// How the servers are.
    pub fn condition(&self, now: Instant) -> Condition {
        let silent_for = self.waiting_since.map(|since| now.saturating_duration_since(since));
        let lasts = |time| silent_for.is_some_and(|silent_for| silent_for >= time);
        let is_gone = self.servers.iter().all(Server::is_gone);
        Condition {
            is_down: lasts(SILENT_AFTER) || is_gone,
            is_gone,
            is_dead: lasts(DEAD_AFTER),
            last_response: self.last_response,
        }
    }

    /// Whether a question that no client waits for may be asked now: always while the servers answer; while they do not, when
    /// nothing has been sent for the longest timer. Whatever is sent finds their return as well.
    pub fn may_refresh(&mut self, now: Instant) -> bool {
        if !self.condition(now).is_down {
            return true;
        }
        let is_due = self.last_sent.is_none_or(|sent| now >= sent + round_trip::LONGEST);
        if is_due {
            self.last_sent = Some(now);
        }
        is_due
    }

    /// Takes a token from the retry budget, for asking again what has been answered; `false`: do not.
    pub fn try_spend_token(&mut self) -> bool {
        self.budgets.take(None)
    }

    /// How many retransmissions the retry budget has not allowed since this was last asked for.
    pub fn take_refused_retransmissions(&mut self) -> u32 {
        self.budgets.take_refused()
    }

    /// The retry budget in tenths of a transmission.
    pub fn budget_tenths(&self) -> u32 {
        self.budgets.tenths()
    }

    /// What is known of each server, by its place in the settings.
    pub fn standings(&self) -> Vec<Standing> {
        self.servers.iter().map(Server::standing).collect()
    }

    /// Whether each server is ejected: asked only when no other is left.
    pub fn ejected(&self) -> Vec<bool> {
        self.servers.iter().map(Server::is_ejected).collect()
    }

    /// Whether a server belongs to the shared tier.
    pub fn is_of_tier(&self, server: usize) -> bool {
        server < self.setup.tier
    }

    /// The ejected server whose return is to be looked for now, on the occasion of a question: one of the tier is checked,
    /// another one is sent that question as well, unless all others are ejected, too, and it is asked anyway.
    pub fn trial(&mut self, now: Instant) -> Option<usize> {
        if self.servers.iter().all(Server::is_ejected) {
            return None;
        }
        self.servers.iter_mut().position(|server| server.is_trial_due(now))
    }
}

/// A part of `whole`: none of it at a chance of 0, all of it at the largest.
pub fn share(whole: Duration, chance: u16) -> Duration {
    whole * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests;
