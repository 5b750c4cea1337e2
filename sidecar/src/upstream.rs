//! Sends queries to cluster DNS: to which server and when, until one answers or the deadline passes.
//!
//! ```text
//!   race          one exchange: transmissions by the rules of `podlocal_dns::upstream`; the first good answer wins
//!   direct        the same without a task, as long as one query is enough
//!     attempts      the attempts in flight, polled together
//!     classify      the kind of a response: answer, failure, truncated, denial
//!     state         the state of the servers, and notices between exchanges: a server has recovered
//!     source        the source for which a task queries
//!     observers     events of exchanges, for `lookup`
//!     network       one query to one server
//!       shared_sockets  the choice of the socket for a datagram: a new one, or one that queries share
//!         shared_socket   a socket with its reader and the queries in flight
//!         socket          the system calls
//!       udp           the datagrams of a query
//!       tcp           a connection, from the pool or new
//!       outgoing      the query with the sidecar's EDNS, and again without it if EDNS may be the cause of a failure
//!       query_message the bytes of the query, and whether a message answers it
//!       path          what the path to a server lets through: EDNS, TCP
//!       spoofing      when UDP replies are not trusted, because an attacker may be forging them
//!       loop_detection  the marker by which the proxy knows its own query when it comes back
//!   forward       the servers of forward zones: the same, once for each zone
//!   probe         the task that finds out whether a silent tier is alive, or an ejected server has recovered
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use podlocal_dns::key::Key;
use podlocal_dns::upstream::{Condition, ServerStatus, Setup};
use podlocal_dns::wire;
use podlocal_settings::Settings;
use tokio::time::{Instant, sleep};

use crate::limits;
use crate::metrics::{Gauges, Metrics, Server};
use crate::query::Query;
use crate::sources::Sources;
use crate::supervise::supervised;

pub mod attempts;
pub mod classify;
pub mod direct;
pub mod forward;
pub mod loop_detection;
pub mod nameservers;
pub mod network;
pub mod observers;
pub mod outgoing;
pub mod path;
pub mod pool;
pub mod probe;
pub mod query_message;
pub mod race;
pub mod random;
pub mod shared_socket;
pub mod shared_sockets;
pub mod socket;
pub mod source;
pub mod spoofing;
pub mod state;
pub mod tcp;
pub mod udp;

use direct::Continuation;
use loop_detection::LoopMarker;
use network::Sockets;
use observers::Observation;
use state::{LastFailure, State};

/// A source of answers: the servers below, or a script in tests. By default it is healthy, has no limits, and
/// is no loop.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for the answer to the question of that key, until the deadline at most. A response that says that
    /// the server cannot answer (SERVFAIL and the like) is returned when no server has a better one.
    fn ask(&self, key: &Key, deadline: Instant) -> impl Future<Output = Result<Vec<u8>, Failed>> + Send;

    /// Begins to ask now, for that source of queries, without a task as long as none is needed. `Err`: this
    /// upstream always needs one.
    ///
    /// # Errors
    ///
    /// The continuation, which was not called.
    fn begin<C: Continuation>(
        &self,
        key: &Arc<Key>,
        source: Option<u16>,
        now: Instant,
        continuation: C,
    ) -> Result<(), C> {
        let _ = (key, source, now);
        Err(continuation)
    }

    /// The health of the servers at this moment.
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Takes a token from the retry budget, to repeat a query that was answered before; `false`: there is
    /// none.
    fn try_spend_token(&self) -> bool {
        true
    }

    /// Whether a query that no client waits for may be sent now; each `true` is for one query.
    fn may_refresh(&self) -> bool {
        true
    }

    /// Whether that query is one of this proxy's own that has come back: the upstream is a loop.
    fn is_loop(&self, query: &Query<'_>) -> bool {
        let _ = query;
        false
    }
}

/// No server gave any response in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no upstream answered in time")]
pub struct Failed;

/// The shared tier and the servers of the settings, in order of preference. A clone is another handle to the
/// same state.
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
    /// Starts with the shared tier of the settings, then the upstream at these addresses, of which there must
    /// be at least one, then the backup upstream of the settings. Probes use names in the cluster domain.
    /// Starts the tasks that probe servers and close idle connections; they end with the runtime.
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
        let markers = addresses.iter().map(|_| LoopMarker::new()).collect::<Result<Vec<_>, _>>()?;
        let zone = wire::zone(&settings.cluster_domain);
        let state = State::new(setup, Sources::count(settings), zone, metrics.clone());
        let servers = Self(Arc::new(Inner {
            sockets: Sockets::new(addresses, setup.tier, markers, state.recovery_notify(), metrics.clone()),
            state,
            zone: settings.cluster_domain.to_string(),
            loop_logged_at: Mutex::default(),
        }));
        let swept = servers.clone();
        tokio::spawn(supervised("tidy", move || swept.clone().remove_expired_connections()));
        if setup.servers > 1 {
            let probed = servers.clone();
            tokio::spawn(supervised("check", move || probed.clone().run_probes()));
        }
        Ok(servers)
    }

    /// Closes connections that have been idle for too long.
    async fn remove_expired_connections(self) {
        loop {
            sleep(limits::UPSTREAM_TIDY).await;
            self.0.sockets.pool().remove_expired(Instant::now());
        }
    }

    async fn run_probes(self) {
        let Inner { state, sockets, .. } = &*self.0;
        probe::run(state, sockets, |server| self.probe(server)).await;
    }

    fn probe(&self, server: usize) -> Option<Key> {
        self.0.sockets.markers().get(server).and_then(|marker| marker.probe(&self.0.zone).ok())
    }

    /// The state of every server and its last failure: the shared tier, then the upstream.
    pub fn server_statuses(&self) -> Vec<(SocketAddr, ServerStatus, Option<LastFailure>)> {
        let statuses = self.0.state.server_statuses().into_iter().enumerate();
        let known =
            |(server, (standing, failure))| Some((self.0.sockets.address(server)?, standing, failure));
        statuses.filter_map(known).collect()
    }

    /// The address of a server, and whether it is one of the shared tier.
    pub fn server(&self, server: usize) -> Option<(SocketAddr, bool)> {
        self.0.sockets.address(server).map(|address| (address, self.0.state.is_tier_server(server)))
    }

    /// The retry budget, in tenths of a retransmission.
    pub fn budget_tenths(&self) -> u32 {
        self.0.state.budget_tenths()
    }

    /// The metrics in which everything about them is counted.
    pub fn metrics(&self) -> &Metrics {
        self.0.state.metrics()
    }

    /// Records the events of all exchanges until the observation is dropped.
    pub fn observe(&self) -> Observation<'_> {
        self.0.state.observers().observe()
    }

    fn state(&self) -> &State {
        &self.0.state
    }

    fn sockets(&self) -> &Sockets {
        &self.0.sockets
    }

    fn log_loop(&self, server: Option<usize>, now: Instant) {
        let mut logged_at = self.0.loop_logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*logged_at, now) {
            return;
        }
        *logged_at = Some(now);
        if let Some(address) = server.and_then(|server| self.0.sockets.address(server)) {
            tracing::error!(
                "the upstream at {address} leads back to this proxy, perhaps through other servers: the proxy \
                 has received its own query. Check for an iptables redirect of port 53, such as the DNS capture \
                 of a service mesh, and for an upstream setting that names the pod itself"
            );
        }
    }
}

impl Upstream for Servers {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        let outcome = race::race(&self.0.state, &self.0.sockets, key, deadline).await;
        self.0.sockets.forwarded_markers().remove(key);
        outcome
    }

    fn begin<C: Continuation>(
        &self,
        key: &Arc<Key>,
        source: Option<u16>,
        now: Instant,
        continuation: C,
    ) -> Result<(), C> {
        direct::begin(self.clone(), Arc::clone(key), source, now, continuation);
        Ok(())
    }

    fn condition(&self) -> Condition {
        self.0.state.condition(Instant::now())
    }

    fn try_spend_token(&self) -> bool {
        self.0.state.try_spend_token()
    }

    fn may_refresh(&self) -> bool {
        self.0.state.may_refresh(Instant::now())
    }

    fn is_loop(&self, query: &Query<'_>) -> bool {
        let server = self.0.sockets.markers().iter().position(|marker| marker.marks(query));
        let is_loop = server.is_some() || loop_detection::has_passed_too_many_proxies(query);
        if is_loop {
            self.0.state.metrics().loops.inc();
            self.log_loop(server, Instant::now());
        } else if !query.markers.is_empty() {
            self.0.sockets.forwarded_markers().insert(query, Instant::now());
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
            let servers = (0..).zip(&ejected).filter(|(server, _)| state.is_tier_server(*server) == of_tier);
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
            let server = if state.is_tier_server(index) { Server::SharedTier } else { Server::Upstream };
            (address.to_string(), server, !is_ejected)
        };
        sockets.addresses().iter().zip(state.ejected()).enumerate().map(shown).collect()
    }
}

/// Whether a warning that was last logged at that time may be logged again.
fn is_due(logged_at: Option<Instant>, now: Instant) -> bool {
    logged_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::WARNING_INTERVAL)
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
    use crate::upstream::query_message::QueryMessage;
    use podlocal_dns::upstream::Target;
    use podlocal_dns::wire::Flags;
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_proxys_own_queries_and_probes_are_a_loop() {
        let (metrics, registry) = Metrics::new();
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))];
        let start = || Servers::start(&addresses, &Settings::defaults(), &metrics);
        let (servers, others) = (start().expect("random"), start().expect("random"));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        for marker in servers.0.sockets.markers() {
            let probe = marker.probe("cluster.local").expect("random");
            for (key, with_edns) in [(&key, true), (&probe, true), (&probe, false)] {
                let bytes = QueryMessage::new(key, *marker).expect("random").bytes(with_edns);
                let query = Query::parse(&bytes).expect("our own message is a query");
                assert!(servers.is_loop(&query));
                assert!(!others.is_loop(&query), "another proxy's");
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("podlocal_dns_upstream_loops_total 6"), "{text}");
    }

    #[tokio::test]
    async fn an_exchange_in_flight_takes_little_memory() {
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
        let servers = Servers::start(&addresses, &Settings::defaults(), &Metrics::new().0);
        let servers = servers.expect("random");
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let exchange = size_of_val(&servers.ask(&key, Instant::now()));
        let target = Target { server: 0, transport: Transport::Udp };
        let attempt = size_of_val(&servers.0.sockets.ask(target, &key, false));
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
