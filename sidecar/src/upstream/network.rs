//! Sends one query to one server: over sockets, or to a script in tests.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};

use podlocal_dns::key::Key;
use podlocal_dns::upstream::{Recovery, Target};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::loop_detection::ForwardedMarkers;
use super::outgoing::{OutgoingQuery, Received};
use super::path::Path;
use super::pool::{Connection, Pool};
use super::query_message::QueryMessage;
use super::shared_socket::SharedSocket;
use super::shared_socket::ticket::Ticket;
use super::shared_sockets::SharedSockets;
use super::spoofing::NearMissAction;
use super::tcp;
use crate::limits;
use crate::metrics::{Metrics, Origin, Transport};
use crate::supervise::lock;

/// Sends queries.
pub trait Network: Send + Sync + 'static {
    /// The server's response to that question, or an error. There is no time-out: the caller drops the future
    /// when it no longer needs the response, and that ends the attempt. `is_repeated`: the server has been
    /// silent so far.
    fn ask(
        &self,
        target: Target,
        key: &Key,
        is_repeated: bool,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// Real sockets.
#[derive(Debug)]
pub struct Sockets {
    /// The path to every server.
    pub paths: Vec<Path>,
    /// The markers of other proxies that go with queries.
    pub forwarded_markers: ForwardedMarkers,
    spoofing_warning: WarningLimit,
    shared_sockets: SharedSockets,
    pool: Mutex<Pool<TcpStream>>,
    metrics: Metrics,
}

impl Sockets {
    /// For servers at these addresses, of which the first `tier` are the shared tier; the queries to each
    /// server carry a marker of its own. `recovered` sends the recoveries of servers that were silent.
    pub fn new(
        addresses: &[SocketAddr],
        tier: usize,
        recovered: watch::Sender<Option<Recovery>>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let paths = addresses.iter().enumerate().map(|(server, address)| Path::new(*address, server < tier));
        Ok(Self {
            paths: paths.collect::<Result<_, _>>()?,
            forwarded_markers: ForwardedMarkers::default(),
            spoofing_warning: WarningLimit::default(),
            shared_sockets: SharedSockets::new(addresses.len(), recovered, &metrics),
            pool: Mutex::new(Pool::new(addresses.len())),
            metrics,
        })
    }

    fn path(&self, server: usize) -> io::Result<&Path> {
        self.paths.get(server).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The idle TCP connections.
    pub fn pool(&self) -> MutexGuard<'_, Pool<TcpStream>> {
        lock(&self.pool)
    }

    /// The query to that server, not sent yet. `is_repeated`: the server has been silent so far.
    pub fn query<'a>(
        &'a self,
        server: usize,
        key: &'a Key,
        is_repeated: bool,
        now: Instant,
    ) -> io::Result<OutgoingQuery<'a>> {
        let forwarded = self.forwarded_markers.get(key);
        OutgoingQuery::new(key, self.path(server)?, &self.metrics, forwarded, is_repeated, now)
    }

    /// Sends a query over UDP. Returns the socket on which it was sent, and its index there.
    pub fn send(
        &self,
        server: usize,
        query: &mut OutgoingQuery<'_>,
        is_repeated: bool,
        now: Instant,
    ) -> io::Result<(std::sync::Arc<SharedSocket>, usize)> {
        let address = self.path(server)?.address;
        self.shared_sockets.send(server, address, is_repeated, |id, out| query.write_with_id(id, out), now)
    }

    /// The response to a message that was sent over UDP.
    pub async fn response_to(
        &self,
        server: usize,
        key: &Key,
        message: QueryMessage,
        ticket: Ticket,
    ) -> io::Result<Vec<u8>> {
        let mut query = OutgoingQuery::sent(key, self.path(server)?, &self.metrics, message);
        self.response(server, &mut query, ticket).await
    }

    async fn response(
        &self,
        server: usize,
        query: &mut OutgoingQuery<'_>,
        mut ticket: Ticket,
    ) -> io::Result<Vec<u8>> {
        let action = match query.response(&mut ticket).await? {
            Received::Response(response) | Received::Failure(response) => {
                ticket.mark_answered(query.is_port_known());
                return Ok(response);
            }
            Received::Distrusted(action) => action,
        };
        drop(ticket);
        if action == NearMissAction::RetryOverTcp
            && let Ok(response) = Box::pin(self.ask_after_near_miss(server, query)).await
        {
            return Ok(response);
        }
        // Nothing arrives any more. That says nothing about the server: the query is retransmitted when its
        // timer expires, from another port.
        std::future::pending().await
    }

    /// Sends the query over TCP after a near miss, because an attacker may be forging UDP answers.
    async fn ask_after_near_miss(&self, server: usize, query: &mut OutgoingQuery<'_>) -> io::Result<Vec<u8>> {
        self.metrics.spoofing_suspected.inc();
        if self.spoofing_warning.is_due(Instant::now()) {
            tracing::warn!(
                "a reply to a query to {} has a wrong id: possible spoofing. Such queries are repeated over TCP; \
                 see podlocal_dns_upstream_unwanted_replies_total. Check which pods and nodes can send packets \
                 with forged source addresses",
                self.path(server)?.address
            );
        }
        self.ask_over_tcp(server, query).await
    }

    async fn ask_over_tcp(&self, server: usize, query: &mut OutgoingQuery<'_>) -> io::Result<Vec<u8>> {
        if let Some(mut connection) = self.take_idle(server) {
            self.metrics.upstream_connections.inc(Origin::Reused);
            match self.ask_over_idle(server, &mut connection.stream, query).await {
                Ok(response) => return Ok(self.return_to_pool(server, connection, response)),
                // The server closed the connection because it was idle, not because of this query.
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = tcp::connect(self.path(server)?.address).await?;
        self.metrics.upstream_connections.inc(Origin::Opened);
        let response = tcp::exchange(&mut connection.stream, query).await?;
        Ok(self.return_to_pool(server, connection, response))
    }

    /// When the connection does not answer soon, the other idle connections are not trusted either.
    async fn ask_over_idle(
        &self,
        server: usize,
        stream: &mut TcpStream,
        query: &mut OutgoingQuery<'_>,
    ) -> io::Result<Vec<u8>> {
        let mut exchange = pin!(tcp::exchange(stream, query));
        if let Ok(outcome) = timeout(limits::REUSED_TIMEOUT, exchange.as_mut()).await {
            return outcome;
        }
        self.pool().clear(server);
        exchange.await
    }

    /// An idle connection that the server has not closed, as far as is known yet.
    fn take_idle(&self, server: usize) -> Option<Connection<TcpStream>> {
        let mut pool = self.pool();
        std::iter::from_fn(|| pool.take(server, Instant::now())).find(|idle| tcp::is_quiet(&idle.stream))
    }

    fn return_to_pool(&self, server: usize, connection: Connection<TcpStream>, response: Vec<u8>) -> Vec<u8> {
        self.pool().put(server, connection, Instant::now());
        response
    }
}

impl Network for Sockets {
    async fn ask(&self, target: Target, key: &Key, is_repeated: bool) -> io::Result<Vec<u8>> {
        let Target { server, transport } = target;
        let now = Instant::now();
        let mut query = self.query(server, key, is_repeated, now)?;
        match transport {
            Transport::Udp => {
                let (shared, index) = self.send(server, &mut query, is_repeated, now)?;
                let ticket = shared.ticket(index, key.question());
                drop(shared);
                self.response(server, &mut query, ticket).await
            }
            // Boxed, so that an attempt over UDP is not as large as one over TCP.
            Transport::Tcp => Box::pin(self.ask_over_tcp(server, &mut query)).await,
        }
    }
}

/// Limits a warning to one in [`limits::WARNING_INTERVAL`].
#[derive(Debug, Default)]
pub struct WarningLimit(Mutex<Option<Instant>>);

impl WarningLimit {
    /// Whether to log the warning now.
    pub fn is_due(&self, now: Instant) -> bool {
        let mut logged_at = lock(&self.0);
        let is_due = logged_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::WARNING_INTERVAL);
        if is_due {
            *logged_at = Some(now);
        }
        is_due
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests;
