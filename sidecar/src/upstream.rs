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
//!       tcp           a connection, from the pool or new
//!       outgoing      the query with the sidecar's EDNS, and again without it if EDNS may be the cause of a failure
//!       query_message the bytes of the query, and whether a message answers it
//!       path          what the path to a server lets through: EDNS, TCP
//!       spoofing      when UDP replies are not trusted, because an attacker may be forging them
//!       loop_detection  the marker by which the proxy knows its own query when it comes back
//!   forward       the servers of forward zones: the same, once for each zone
//!   gauges        the health of the servers, for metrics
//!   probe         the task that finds out whether a silent tier is alive, or an ejected server has recovered
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::{Condition, ServerStatus, Setup};
use podlocal_dns::wire;
use podlocal_settings::Settings;
use tokio::time::{Instant, sleep};

use crate::limits;
use crate::metrics::Metrics;
use crate::query::Query;
use crate::sources::Sources;
use crate::supervise::supervised;

pub mod attempts;
pub mod classify;
pub mod direct;
pub mod forward;
pub mod gauges;
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

use direct::Continuation;
use network::{Sockets, WarningLimit};
use observers::Observation;
use path::Path;
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
    loop_warning: WarningLimit,
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
        Self::start_at(&addresses, setup, settings, metrics)
    }

    fn start_at(
        addresses: &[SocketAddr],
        setup: Setup,
        settings: &Settings,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let zone = wire::zone(&settings.cluster_domain);
        let state = State::new(setup, Sources::count(settings), zone, metrics.clone());
        let servers = Self(Arc::new(Inner {
            sockets: Sockets::new(addresses, setup.tier, state.recovered.clone(), metrics.clone())?,
            state,
            zone: settings.cluster_domain.to_string(),
            loop_warning: WarningLimit::default(),
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
        let question = |server: usize| self.sockets().paths.get(server)?.marker.probe(&self.0.zone).ok();
        probe::run(self.state(), self.sockets(), question).await;
    }

    /// The state of every server and its last failure: the shared tier, then the upstream.
    pub fn server_statuses(&self) -> Vec<(SocketAddr, ServerStatus, Option<LastFailure>)> {
        let statuses = self.0.state.server_statuses();
        let paths = self.0.sockets.paths.iter().zip(statuses);
        paths.map(|(path, (status, failure))| (path.address, status, failure)).collect()
    }

    /// The address of a server, and whether it is one of the shared tier.
    pub fn server(&self, server: usize) -> Option<(SocketAddr, bool)> {
        self.0.sockets.paths.get(server).map(|path| (path.address, path.is_tier))
    }

    /// The retry budget, in tenths of a retransmission.
    pub fn budget_tenths(&self) -> u32 {
        self.0.state.lock().policy.budget_tenths()
    }

    /// The metrics in which everything about them is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.state.metrics
    }

    /// Records the events of all exchanges until the observation is dropped.
    pub fn observe(&self) -> Observation<'_> {
        self.0.state.observers.observe()
    }

    /// The path to every server, and whether the server is ejected.
    fn paths(&self) -> Vec<(&Path, bool)> {
        let ejected = self.0.state.lock().policy.ejected();
        self.0.sockets.paths.iter().zip(ejected).collect()
    }

    fn state(&self) -> &State {
        &self.0.state
    }

    fn sockets(&self) -> &Sockets {
        &self.0.sockets
    }
}

impl Upstream for Servers {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        let outcome = race::race(&self.0.state, &self.0.sockets, key, deadline).await;
        self.0.sockets.forwarded_markers.remove(key);
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
        self.0.state.lock().policy.condition(Instant::now().into_std())
    }

    fn try_spend_token(&self) -> bool {
        self.0.state.try_spend_token()
    }

    fn may_refresh(&self) -> bool {
        self.0.state.lock().policy.may_refresh(Instant::now().into_std())
    }

    fn is_loop(&self, query: &Query<'_>) -> bool {
        let Inner { state, sockets, loop_warning, .. } = &*self.0;
        let server = sockets.paths.iter().find(|path| path.marker.marks(query));
        let is_loop = server.is_some() || loop_detection::has_passed_too_many_proxies(query);
        if !is_loop && !query.markers.is_empty() {
            sockets.forwarded_markers.insert(query, Instant::now());
        }
        if is_loop {
            state.metrics.loops.inc();
        }
        if let Some(Path { address, .. }) = server.filter(|_| loop_warning.is_due(Instant::now())) {
            tracing::error!(
                "the upstream at {address} leads back to this proxy, perhaps through other servers: the proxy \
                 has received its own query. Check for an iptables redirect of port 53, such as the DNS capture \
                 of a service mesh, and for an upstream setting that names the pod itself"
            );
        }
        is_loop
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod work {
    mod tests;
}
