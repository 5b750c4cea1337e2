//! How to query servers: retransmission, backoff, server order, health, and when an expired answer may be
//! served.
//!
//! A real CoreDNS under load does not drop queries: it accepts all of them and becomes slow. So an unanswered
//! transmission alone is no evidence of loss, and 10,000 pods that repeat their queries turn a slow server
//! into a dead one. The rules are those of TCP's loss detection (RACK-TLP, RFC 8985) with the timer of RFC
//! 6298, for queries instead of segments:
//!
//! | situation | action |
//! |---|---|
//! | no server has answered anything yet | the timer of the server is one second (RFC 8961 section 4) |
//! | the server has answered before | the timer is SRTT + 4 RTTVAR, at least 100 ms |
//! | the server answered a query that was sent at about the same time or later, and this query has waited for the timer | this query is lost: it is retransmitted, three times at most and if the retry budget allows, the second time over TCP. The timer of the query doubles |
//! | the server has answered nothing since the last query was sent, for its timer | *one* query of the pod that has waited for SRTT + 4 RTTVAR is retransmitted; the timer of the server doubles, to 3.5 s at most |
//! | the silent server answers a query | every query that was sent to it earlier is lost: each is retransmitted, with a jitter of up to 0.1 s |
//! | there is another server that was not tried | a query that has waited for the timer is sent to that server, once |
//! | the server refuses the connection | the next server is queried immediately; a single server again after 1 and 3 s, for each query, because it has received none of them |
//! | the server answers that it cannot answer (SERVFAIL, REFUSED, ..) | the next server is queried immediately; this server no more |
//! | there are backup servers, which may know other names | see [`backup`] |
//!
//! ```text
//!   Policy     the state of the servers; shared by all exchanges
//!   Exchange   the state of one question
//!   server     one server: its timer, its health           round_trip   SRTT and RTTVAR
//!   budget     the limit on retransmissions after a loss   order        the order in which servers are queried
//!   guard      when a silent tier is probed and left       liveness     what the probes found
//!   backup     when servers that may know other names are queried, and which of their answers count
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
pub use order::{Target, Transport, first_transport};
pub use server::ServerStatus;

use std::time::{Duration, Instant};

use podlocal_settings::value::UpstreamTransport;

use budget::Budgets;
use liveness::Finding;
use server::Server;

/// How long an exchange may take, because a client may wait as long: glibc waits 5 s, retransmits, and waits
/// as long again (resolv.conf(5)); 15 s covers the resolvers in docs/resolvers.md.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an exchange may take when every server refuses connections: less than the 5 s after which glibc
/// retransmits, so that the client gets an answer, and long enough for a server that restarts.
pub const REFUSED_TIMEOUT: Duration = Duration::from_secs(4);

/// When no server has answered anything for so long while queries were waiting, an expired answer is served
/// immediately.
pub const SILENT_AFTER: Duration = Duration::from_secs(2);

/// When no server has answered anything for so long, a shared tier sends its clients to cluster DNS. Not
/// sooner: a cluster DNS that is merely slow would get the queries of all pods.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// The longest jitter of queries that are all retransmitted because a silent server has answered.
pub const RESEND_SPREAD: Duration = Duration::from_millis(100);

/// The servers, and the transports to them.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// The number of servers.
    pub servers: usize,
    /// How many of them are the shared tier; they come first.
    pub tier: usize,
    /// How many of them are backup servers; they come last.
    pub backup: usize,
    /// The transports that the settings allow.
    pub transport: UpstreamTransport,
}

/// The state of the servers, shared by all exchanges.
#[derive(Debug)]
pub struct Policy {
    setup: Setup,
    servers: Vec<Server>,
    budgets: Budgets,
    /// When the first query was sent since a server last answered anything.
    waiting_since: Option<Instant>,
    /// The same for the servers that are not backup servers.
    primaries_waiting_since: Option<Instant>,
    last_response: Option<Instant>,
    /// When a query was last sent to any server.
    last_sent: Option<Instant>,
}

/// The health of all servers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// Whether no server has answered anything for [`SILENT_AFTER`] although queries were waiting, or all
    /// servers refuse: an expired answer may be served.
    pub is_down: bool,
    /// Whether all servers refuse connections, so that waiting for them is of no use.
    pub is_refusing: bool,
    /// Whether no server has answered anything for [`DEAD_AFTER`] although queries were waiting.
    pub is_dead: bool,
    /// When a server last gave any response.
    pub last_response: Option<Instant>,
}

/// A server that was silent, or that had not answered before, has responded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The index of the server.
    pub server: usize,
    /// When the query was sent to which it responded. Queries that were sent earlier are lost, later ones are
    /// not.
    pub sent_at: Instant,
}

impl Policy {
    /// At the start all servers count as healthy, and their round-trip times are unknown.
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

    /// Records a response with any RCODE to a query that was sent at `sent_at`. The caller passes a recovery
    /// on to every exchange ([`Exchange::note_recovery`]), and calls [`Policy::wakes_at`] for each again: its
    /// timer may have changed.
    pub fn record_response(&mut self, server: usize, sent_at: Instant, now: Instant) -> Option<Recovery> {
        self.waiting_since = None;
        self.primaries_waiting_since.take_if(|_| !self.setup.is_backup(server));
        self.last_response = Some(now);
        let is_news = self.servers.get_mut(server)?.record_response(sent_at, now);
        is_news.then_some(Recovery { server, sent_at })
    }

    /// Gives each of so many sources of queries a retry budget of its own ([`budget`]).
    #[must_use]
    pub fn with_sources(self, sources: usize) -> Self {
        Self { budgets: Budgets::new(sources), ..self }
    }

    /// Records that a server answered an exchange; an answer within [`round_trip::INITIAL_TIMER`] fills the
    /// retry budget.
    pub fn record_answer(&mut self, exchange: &Exchange, took: Duration) {
        if took <= round_trip::INITIAL_TIMER {
            self.budgets.record_fast_answer(exchange.source());
        }
    }

    /// Records the finding of the probes of a tier server that began at `since`. A server that is alive is
    /// silent because it waits for cluster DNS. A dead one is ejected immediately.
    pub fn record_probe(&mut self, server: usize, finding: Finding, since: Instant, now: Instant) {
        let Some(server) = self.servers.get_mut(server) else { return };
        match finding {
            Finding::Alive => {
                (self.waiting_since, self.primaries_waiting_since) = (None, None);
                server.mark_alive(now);
            }
            Finding::Partial => {}
            Finding::Dead => server.mark_dead(since, now),
        }
    }

    /// The health of all servers together, as of `now`.
    pub fn condition(&self, now: Instant) -> Condition {
        let silent_for = self.waiting_since.map(|since| now.saturating_duration_since(since));
        let lasts = |time| silent_for.is_some_and(|silent_for| silent_for >= time);
        let is_refusing = self.servers.iter().all(Server::is_refusing);
        Condition {
            is_down: lasts(SILENT_AFTER) || is_refusing,
            is_refusing,
            is_dead: lasts(DEAD_AFTER),
            last_response: self.last_response,
        }
    }

    /// Whether a query that no client waits for may be sent now: always while the servers answer; while they
    /// do not, once in each interval of the longest timer. Such a query also finds out that the servers
    /// answer again.
    pub fn may_refresh(&mut self, now: Instant) -> bool {
        if !self.condition(now).is_down {
            return true;
        }
        let is_due = self.last_sent.is_none_or(|sent| now >= sent + round_trip::MAX_TIMER);
        if is_due {
            self.last_sent = Some(now);
        }
        is_due
    }

    /// Takes a token from the retry budget, to repeat a query that was answered before; `false`: there is
    /// none.
    pub fn try_spend_token(&mut self) -> bool {
        self.budgets.try_spend(None)
    }

    /// The number of retransmissions that the retry budget has refused since the last call.
    pub fn take_refused_retransmissions(&mut self) -> u32 {
        self.budgets.take_refused()
    }

    /// The retry budget in tenths of a transmission.
    pub fn budget_tenths(&self) -> u32 {
        self.budgets.tenths()
    }

    /// The state of each server, in the order of the settings.
    pub fn server_statuses(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(Server::status).collect()
    }

    /// Whether each server is ejected: queried only when no other is left.
    pub fn ejected(&self) -> Vec<bool> {
        self.servers.iter().map(Server::is_ejected).collect()
    }

    /// Whether a server belongs to the shared tier.
    pub fn is_tier_server(&self, server: usize) -> bool {
        server < self.setup.tier
    }

    /// The ejected server that is due for a trial now, on the occasion of a query: a server of the tier is
    /// probed, and another one gets that query as well. `None` when all servers are ejected, because they are
    /// queried anyway.
    pub fn take_due_trial(&mut self, now: Instant) -> Option<usize> {
        if self.servers.iter().all(Server::is_ejected) {
            return None;
        }
        self.servers.iter_mut().position(|server| server.is_trial_due(now))
    }
}

/// The part of `whole` that `chance` makes of it: nothing at 0, all of it at the largest value.
pub fn fraction_of(whole: Duration, chance: u16) -> Duration {
    whole * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests;
