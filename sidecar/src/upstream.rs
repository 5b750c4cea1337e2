//! Asks the cluster's DNS: which server when, until one answers or the deadline is there.
//!
//! ```text
//!   race          one exchange: transmissions as `podlocal_dns::upstream` says; the first good answer wins
//!     attempts      questions under way, listened to together
//!     judge         what a response is worth
//!     state         the policy, and what exchanges tell each other: a server is back
//!     source        for whom a question is asked
//!     observers     who listens to an exchange while it happens: a `lookup`
//!     network       one question to one server
//!       udp           a datagram from a new port, or from one that questions share
//!         channels      which socket a question is sent on
//!         channel       a socket that questions share, with its reader and who waits
//!       tcp           a connection, taken from the pool or new
//!       asked         the question with our EDNS, and without where that may be why it failed
//!       question      the message, and whether a message answers it
//!       path          what the path to a server lets through: EDNS, TCP
//!       doubt         when replies by UDP are not believed, because somebody seems to guess
//!       token         what marks it as ours, to know it when it comes back to us
//!   forward       the servers of forward zones: the same, once for each zone
//!   check         the one task that finds out whether a silent tier is alive, or an ejected server back
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use podlocal_dns::upstream::{Condition, Setup, Standing};
use podlocal_settings::Settings;
use tokio::time::{Instant, sleep};

use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{Gauges, Metrics, Server, Sums};
use crate::query::Query;
use crate::sources::Sources;
use crate::supervise::supervised;
use crate::wire;

pub mod asked;
pub mod attempts;
pub mod channel;
pub mod channels;
pub mod check;
pub mod doubt;
pub mod forward;
pub mod judge;
pub mod nameservers;
pub mod network;
pub mod observers;
pub mod path;
pub mod pool;
pub mod question;
pub mod race;
pub mod random;
pub mod source;
pub mod state;
pub mod tcp;
pub mod token;
pub mod udp;

use network::Sockets;
use observers::Observation;
use state::{Failure, State};
use token::Token;

/// Whoever can answer a question: the servers below, or a script in tests.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for the answer to the question of that key, until the deadline at most. A response that says that the
    /// server cannot answer (SERVFAIL and the like) is given when nobody has a better one.
    fn ask(&self, key: &Key, deadline: Instant) -> impl Future<Output = Result<Vec<u8>, Failed>> + Send;

    /// What is known of the servers at this moment.
    fn condition(&self) -> Condition;

    /// Takes one question out of the retry budget, for asking again what has been answered; `false`: do not.
    fn may_ask_again(&self) -> bool;

    /// Whether a question that no client waits for may be asked now; `true` is for one question.
    fn may_refresh(&self) -> bool;

    /// Whether that query is one of our own that has come back: the upstream leads to ourselves.
    fn is_loop(&self, query: &Query<'_>) -> bool;
}

/// No server gave any response in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no upstream answered in time")]
pub struct Failed;

/// The shared tier and the servers of the settings, in order of preference. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    sockets: Sockets,
    zone: String,
    loop_logged_at: Mutex<Option<Instant>>,
}

impl Servers {
    /// The shared tier of the settings, then the upstream at these addresses, of which there must be one at least, then the
    /// backup upstream of the settings; probes and checks are names under the cluster domain. Starts the tasks that make them, which end with the runtime.
    ///
    /// # Errors
    ///
    /// The kernel gives no random bytes.
    pub fn start(upstream: &[SocketAddr], settings: &Settings, metrics: &Metrics) -> std::io::Result<Self> {
        let addresses = [&settings.shared_tier, upstream, &settings.backup_upstream].concat();
        let setup = Setup {
            servers: addresses.len(),
            tier: settings.shared_tier.len(),
            backup: settings.backup_upstream.len(),
            transport: settings.upstream_transport,
        };
        Self::start_at(addresses, setup, settings, metrics)
    }

    fn start_at(
        addresses: Vec<SocketAddr>,
        setup: Setup,
        settings: &Settings,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let tokens = addresses.iter().map(|_| Token::new()).collect::<Result<Vec<_>, _>>()?;
        let zone = wire::zone_from_text(&settings.cluster_domain);
        let servers = Self(Arc::new(Inner {
            state: State::new(setup, Sources::count(settings), zone, metrics.clone()),
            sockets: Sockets::new(addresses, setup.tier, tokens, metrics.clone()),
            zone: settings.cluster_domain.clone(),
            loop_logged_at: Mutex::default(),
        }));
        let tidied = servers.clone();
        tokio::spawn(supervised("tidy", move || tidied.clone().tidy()));
        if setup.servers > 1 {
            let checked = servers.clone();
            tokio::spawn(supervised("check", move || checked.clone().check()));
        }
        Ok(servers)
    }

    /// Closes connections that have been idle for too long.
    async fn tidy(self) {
        loop {
            sleep(limits::UPSTREAM_TIDY).await;
            self.0.sockets.pool().tidy(Instant::now());
        }
    }

    async fn check(self) {
        let Inner { state, sockets, .. } = &*self.0;
        check::watch(state, sockets, |server| self.probe(server)).await;
    }

    fn probe(&self, server: usize) -> Option<Key> {
        self.0.sockets.tokens().get(server).and_then(|token| token.probe(&self.0.zone).ok())
    }

    /// What is known of every server, and its last failure: the shared tier, then the upstream.
    pub fn standings(&self) -> Vec<(SocketAddr, Standing, Option<Failure>)> {
        let standings = self.0.state.standings().into_iter().enumerate();
        let known =
            |(server, (standing, failure))| Some((self.0.sockets.address(server)?, standing, failure));
        standings.filter_map(known).collect()
    }

    /// A server's address, and whether it is one of the shared tier.
    pub fn server(&self, server: usize) -> Option<(SocketAddr, bool)> {
        self.0.sockets.address(server).map(|address| (address, self.0.state.is_of_tier(server)))
    }

    /// How many attempts beyond the first the retry budget would pay for, in tenths of one.
    pub fn budget_tenths(&self) -> u32 {
        self.0.state.budget_tenths()
    }

    /// What has been counted of them.
    pub fn sums(&self) -> Sums {
        self.0.state.metrics().sums()
    }

    /// Listens to all exchanges until the observation is dropped.
    pub fn observe(&self) -> Observation<'_> {
        self.0.state.observers().observe()
    }

    fn log_loop(&self, server: Option<usize>, now: Instant) {
        let mut logged_at = self.0.loop_logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*logged_at, now) {
            return;
        }
        *logged_at = Some(now);
        if let Some(address) = server.and_then(|server| self.0.sockets.address(server)) {
            tracing::error!(
                "the upstream at {address} leads back to this proxy, by way of others perhaps: its own question has \
                 come back. Check for an \
                 iptables redirect of port 53, such as a service mesh's DNS capture, and for an upstream setting \
                 that names the pod itself"
            );
        }
    }
}

impl Upstream for Servers {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        let outcome = race::race(&self.0.state, &self.0.sockets, key, deadline).await;
        self.0.sockets.passed().forget(key);
        outcome
    }

    fn condition(&self) -> Condition {
        self.0.state.condition(Instant::now())
    }

    fn may_ask_again(&self) -> bool {
        self.0.state.try_spend_token()
    }

    fn may_refresh(&self) -> bool {
        self.0.state.may_refresh(Instant::now())
    }

    fn is_loop(&self, query: &Query<'_>) -> bool {
        let server = self.0.sockets.tokens().iter().position(|token| token.is_on(query));
        let is_loop = server.is_some() || token::has_passed_too_many(query);
        if is_loop {
            self.0.state.metrics().looped();
            self.log_loop(server, Instant::now());
        } else if !query.markers.is_empty() {
            self.0.sockets.passed().note(query, Instant::now());
        }
        is_loop
    }
}

impl Gauges for Servers {
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let Inner { state, sockets, .. } = &*self.0;
        let is_down = state.condition(Instant::now()).is_down;
        let idle = sockets.pool().count();
        let ejected = state.ejected();
        let ejected = |of_tier: bool| {
            let servers = (0..).zip(&ejected).filter(|(server, _)| state.is_of_tier(*server) == of_tier);
            servers.filter(|(_, is_ejected)| **is_ejected).count() as u64
        };
        vec![
            ("upstream_ejected_servers", "Servers of the upstream that are ejected", ejected(false)),
            ("shared_tier_ejected_servers", "Servers of the shared tier that are ejected", ejected(true)),
            (
                "upstream_unavailable",
                "1 while no upstream server is known to answer, else 0",
                u64::from(is_down),
            ),
            ("upstream_tcp_idle_connections", "Idle TCP connections to upstream servers", idle as u64),
        ]
    }

    fn servers(&self) -> Vec<(String, Server, bool)> {
        let Inner { state, sockets, .. } = &*self.0;
        let shown = |(index, (address, is_ejected)): (usize, (&SocketAddr, bool))| {
            let server = if state.is_of_tier(index) { Server::SharedTier } else { Server::Upstream };
            (address.to_string(), server, !is_ejected)
        };
        sockets.addresses().iter().zip(state.ejected()).enumerate().map(shown).collect()
    }
}

/// Whether a loop, or a doubt, is to be logged, when it was logged last at that time.
fn is_due(logged_at: Option<Instant>, now: Instant) -> bool {
    logged_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::LOOP_LOG)
}

#[cfg(test)]
mod work {
    mod tests;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Transport;
    use crate::upstream::network::Network;
    use crate::upstream::question::Question;
    use crate::wire::Flags;
    use podlocal_dns::upstream::Step;
    use std::time::Duration;

    #[tokio::test]
    async fn our_own_questions_and_probes_are_a_loop_and_those_of_others_are_not() {
        let (metrics, registry) = Metrics::new();
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))];
        let start = || Servers::start(&addresses, &Settings::defaults(), &metrics);
        let (servers, others) = (start().expect("random"), start().expect("random"));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        for token in servers.0.sockets.tokens() {
            let probe = token.probe("cluster.local").expect("random");
            for (key, with_edns) in [(&key, true), (&probe, true), (&probe, false)] {
                let bytes = Question::new(key, *token).expect("random").bytes(with_edns);
                let query = Query::parse(&bytes).expect("our own question is a query");
                assert!(servers.is_loop(&query));
                assert!(!others.is_loop(&query), "another proxy's");
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("podlocal_dns_upstream_loops_total 6"), "{text}");
    }

    #[tokio::test]
    async fn an_exchange_under_way_is_small() {
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
        let servers = Servers::start(&addresses, &Settings::defaults(), &Metrics::new().0);
        let servers = servers.expect("random");
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let exchange = size_of_val(&servers.ask(&key, Instant::now()));
        let step = Step { server: 0, transport: Transport::Udp };
        let attempt = size_of_val(&servers.0.sockets.ask(step, &key, false));
        assert!(exchange <= 768 && attempt <= 512, "{exchange} bytes, and {attempt} for each attempt");
    }

    #[test]
    fn a_loop_is_logged_once_a_minute() {
        let start = Instant::now();
        assert!(is_due(None, start));
        for (seconds, due) in [(0, false), (59, false), (60, true)] {
            assert_eq!(is_due(Some(start), start + Duration::from_secs(seconds)), due, "after {seconds} s");
        }
    }
}
