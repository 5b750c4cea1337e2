//! Sends one query to one server: over sockets, or to a script in tests.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podlocal_dns::key::Key;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::loop_detection::{ForwardedMarkers, LoopMarker};
use super::outgoing::OutgoingQuery;
use super::path::NetworkPath;
use super::pool::{Connection, Pool};
use super::query_message::{QueryMessage, Variant};
use super::shared_socket::{Sent, SharedSocket, Ticket};
use super::shared_sockets::SharedSockets;
use super::{is_due, tcp, udp};
use crate::limits;
use crate::metrics::{Metrics, Origin, Transport};
use podlocal_dns::upstream::Target;

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
    addresses: Vec<SocketAddr>,
    /// How many of them are the shared tier; they come first.
    tier: usize,
    markers: Vec<LoopMarker>,
    forwarded_markers: ForwardedMarkers,
    /// The state of the path to each server.
    paths: Vec<Mutex<NetworkPath>>,
    spoofing_logged_at: Mutex<Option<Instant>>,
    shared_sockets: SharedSockets,
    pool: Mutex<Pool<TcpStream>>,
    metrics: Metrics,
}

impl Sockets {
    /// For servers at these addresses, of which the first `tier` are the shared tier; the queries to each
    /// server carry its marker. `recovered` is notified when a server that was silent has answered.
    pub fn new(
        addresses: Vec<SocketAddr>,
        tier: usize,
        markers: Vec<LoopMarker>,
        recovered: &Arc<Notify>,
        metrics: Metrics,
    ) -> Self {
        let pool = Mutex::new(Pool::new(addresses.len()));
        let shared_sockets = SharedSockets::new(addresses.len(), recovered, &metrics);
        let paths = addresses.iter().map(|_| Mutex::default()).collect();
        let forwarded_markers = ForwardedMarkers::default();
        Self {
            addresses,
            tier,
            markers,
            forwarded_markers,
            paths,
            spoofing_logged_at: Mutex::default(),
            shared_sockets,
            pool,
            metrics,
        }
    }

    /// The address of a server.
    pub fn address(&self, server: usize) -> Option<SocketAddr> {
        self.addresses.get(server).copied()
    }

    /// The address of every server.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The marker of every server.
    pub fn markers(&self) -> &[LoopMarker] {
        &self.markers
    }

    /// The markers of other proxies that go with queries.
    pub fn forwarded_markers(&self) -> &ForwardedMarkers {
        &self.forwarded_markers
    }

    /// The idle TCP connections.
    pub fn pool(&self) -> MutexGuard<'_, Pool<TcpStream>> {
        // A panic under the lock loses a connection at most.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the query over TCP after a near miss, because an attacker may be forging UDP answers. An error
    /// over TCP says nothing about the server: the query is retransmitted when its timer expires, from
    /// another port.
    async fn ask_after_near_miss(&self, server: usize, query: &mut OutgoingQuery<'_>) -> io::Result<Vec<u8>> {
        let address = self.address(server).ok_or(io::ErrorKind::NotFound)?;
        self.metrics.spoofing_suspected.inc();
        self.log_suspected_spoofing(address, Instant::now());
        match self.ask_over_tcp(server, address, query).await {
            Ok(response) => Ok(response),
            Err(_) => std::future::pending().await,
        }
    }

    fn log_suspected_spoofing(&self, address: SocketAddr, now: Instant) {
        let mut logged_at = self.spoofing_logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*logged_at, now) {
            return;
        }
        *logged_at = Some(now);
        tracing::warn!(
            "a reply to a query to {address} has a wrong id: possible spoofing. Such queries are \
             repeated over TCP; see podlocal_dns_upstream_unwanted_replies_total. Check which pods and nodes can send \
             packets with forged source addresses"
        );
    }

    async fn ask_over_tcp(
        &self,
        server: usize,
        address: SocketAddr,
        query: &mut OutgoingQuery<'_>,
    ) -> io::Result<Vec<u8>> {
        if let Some(mut connection) = self.take_idle(server) {
            self.metrics.upstream_connections.inc(Origin::Reused);
            match self.ask_over_idle(server, &mut connection.stream, query).await {
                Ok(response) => return Ok(self.return_to_pool(server, connection, response)),
                // The server closed the connection because it was idle, not because of this query.
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = tcp::connect(address).await?;
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
        loop {
            let connection = pool.take(server, Instant::now())?;
            if tcp::is_quiet(&connection.stream) {
                return Some(connection);
            }
        }
    }

    fn return_to_pool(&self, server: usize, connection: Connection<TcpStream>, response: Vec<u8>) -> Vec<u8> {
        self.pool().put(server, connection, Instant::now());
        response
    }
}

impl Sockets {
    /// The query to that server, not sent yet. `is_repeated`: the server has been silent so far.
    pub fn outgoing<'a>(
        &'a self,
        server: usize,
        key: &'a Key,
        is_repeated: bool,
        now: Instant,
    ) -> io::Result<OutgoingQuery<'a>> {
        let (marker, path) = self.marker_and_path(server)?;
        let mut question =
            QueryMessage::new(key, marker)?.with_forwarded_markers(self.forwarded_markers.get(key));
        if server < self.tier && lock(path).case.should_randomize(now.into_std()) {
            question = question.with_random_case()?;
        }
        Ok(OutgoingQuery::new(question, path, &self.metrics, is_repeated, now))
    }

    /// The query that was sent to that server over UDP, again.
    pub fn sent<'a>(
        &'a self,
        server: usize,
        key: &'a Key,
        variant: Variant,
        with_edns: bool,
    ) -> io::Result<OutgoingQuery<'a>> {
        let (marker, path) = self.marker_and_path(server)?;
        let question = QueryMessage::from_variant(key, marker, variant);
        Ok(OutgoingQuery::sent(question, path, &self.metrics, with_edns))
    }

    /// Sends a query over UDP, and returns the socket on which it was sent.
    pub fn send(
        &self,
        server: usize,
        query: &mut OutgoingQuery<'_>,
        now: Instant,
    ) -> io::Result<(Arc<SharedSocket>, Sent)> {
        let address = self.address(server).ok_or(io::ErrorKind::NotFound)?;
        let is_repeated = query.is_repeated();
        self.shared_sockets.send(server, address, is_repeated, |id, out| query.write_with_id(id, out), now)
    }

    /// The response to a query that was sent over UDP.
    pub async fn response(
        &self,
        server: usize,
        ticket: Ticket,
        query: &mut OutgoingQuery<'_>,
    ) -> io::Result<Vec<u8>> {
        match udp::response(ticket, query).await? {
            Some(response) => Ok(response),
            None => Box::pin(self.ask_after_near_miss(server, query)).await,
        }
    }

    fn marker_and_path(&self, server: usize) -> io::Result<(LoopMarker, &Mutex<NetworkPath>)> {
        let known = self.markers.get(server).copied().zip(self.paths.get(server));
        known.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Network for Sockets {
    async fn ask(&self, target: Target, key: &Key, is_repeated: bool) -> io::Result<Vec<u8>> {
        let Target { server, transport } = target;
        let now = Instant::now();
        let mut query = self.outgoing(server, key, is_repeated, now)?;
        match transport {
            Transport::Udp => {
                let (shared, sent) = self.send(server, &mut query, now)?;
                let ticket = shared.ticket(sent, key.question(), now);
                drop(shared);
                self.response(server, ticket, &mut query).await
            }
            // Boxed, so that an attempt over UDP is not as large as one over TCP.
            Transport::Tcp => {
                let address = self.address(server).ok_or(io::ErrorKind::NotFound)?;
                Box::pin(self.ask_over_tcp(server, address, &mut query)).await
            }
        }
    }
}

fn lock(path: &Mutex<NetworkPath>) -> MutexGuard<'_, NetworkPath> {
    // Plain numbers: a panic between two assignments does no harm.
    path.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
