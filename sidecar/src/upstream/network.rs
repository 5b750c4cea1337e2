//! Brings one question to one server: the sockets, or a script in tests.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::asked::Asked;
use super::channels::Channels;
use super::path::Path;
use super::pool::{Connection, Pool};
use super::question::Question;
use super::token::{Passed, Token};
use super::{is_due, tcp, udp};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{Metrics, Origin, Transport};
use podlocal_dns::upstream::Step;

/// Asks one server in one way.
pub trait Network: Send + Sync + 'static {
    /// The server's response to that question, or why there will be none. Takes as long as it takes: whoever
    /// has no more use for it drops it, and that ends the exchange. `is_repeated` when the server was silent so far.
    fn ask(
        &self,
        step: Step,
        key: &Key,
        is_repeated: bool,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// Real sockets.
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<SocketAddr>,
    /// How many of them, the first ones, are the shared tier.
    tier: usize,
    tokens: Vec<Token>,
    passed: Passed,
    /// What is known of the path to each server.
    paths: Vec<Mutex<Path>>,
    doubt_logged_at: Mutex<Option<Instant>>,
    channels: Channels,
    pool: Mutex<Pool<TcpStream>>,
    metrics: Metrics,
}

impl Sockets {
    /// To servers at these addresses, of which so many, the first ones, are the shared tier; the questions to each carry its token.
    pub fn new(addresses: Vec<SocketAddr>, tier: usize, tokens: Vec<Token>, metrics: Metrics) -> Self {
        let pool = Mutex::new(Pool::new(addresses.len()));
        let channels = Channels::new(addresses.len(), &metrics);
        let paths = addresses.iter().map(|_| Mutex::default()).collect();
        let passed = Passed::default();
        Self {
            addresses,
            tier,
            tokens,
            passed,
            paths,
            doubt_logged_at: Mutex::default(),
            channels,
            pool,
            metrics,
        }
    }

    /// A server's address.
    pub fn address(&self, server: usize) -> Option<SocketAddr> {
        self.addresses.get(server).copied()
    }

    /// The address of every server.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The token of every server.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The markers of other proxies that are passed on.
    pub fn passed(&self) -> &Passed {
        &self.passed
    }

    /// The TCP connections that wait for a question.
    pub fn pool(&self) -> MutexGuard<'_, Pool<TcpStream>> {
        // A panic while it is held loses a connection at most.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody seems to forge answers by UDP. That TCP brings nothing says nothing: the question is sent again when its timer
    /// expires, from another port.
    async fn ask_in_doubt(&self, server: usize, asked: &mut Asked<'_>) -> io::Result<Vec<u8>> {
        let address = self.address(server).ok_or(io::ErrorKind::NotFound)?;
        self.metrics.spoofing_suspected();
        self.log_doubt(address, Instant::now());
        match self.ask_by_tcp(server, address, asked).await {
            Ok(response) => Ok(response),
            Err(_) => std::future::pending().await,
        }
    }

    fn log_doubt(&self, address: SocketAddr, now: Instant) {
        let mut logged_at = self.doubt_logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(*logged_at, now) {
            return;
        }
        *logged_at = Some(now);
        tracing::warn!(
            "a reply to a question to {address} came with a wrong id: somebody may be forging answers. Such questions are asked \
             over TCP; see podlocal_dns_upstream_unwanted_replies_total. Check who in the cluster can send packets with the \
             source address of another"
        );
    }

    async fn ask_by_tcp(
        &self,
        server: usize,
        address: SocketAddr,
        asked: &mut Asked<'_>,
    ) -> io::Result<Vec<u8>> {
        if let Some(mut connection) = self.idle(server) {
            self.metrics.upstream_connection(Origin::Reused);
            match self.ask_over_idle(server, &mut connection.stream, asked).await {
                Ok(response) => return Ok(self.keep(server, connection, response)),
                // Closed before it answered: it was closed for being idle, not for what we asked.
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = tcp::connect(address).await?;
        self.metrics.upstream_connection(Origin::Opened);
        let response = tcp::exchange(&mut connection.stream, asked).await?;
        Ok(self.keep(server, connection, response))
    }

    /// When the connection does not answer soon, the other idle ones are not trusted either.
    async fn ask_over_idle(
        &self,
        server: usize,
        stream: &mut TcpStream,
        asked: &mut Asked<'_>,
    ) -> io::Result<Vec<u8>> {
        let mut exchange = pin!(tcp::exchange(stream, asked));
        if let Ok(outcome) = timeout(limits::REUSED_PATIENCE, exchange.as_mut()).await {
            return outcome;
        }
        self.pool().clear(server);
        exchange.await
    }

    /// A connection that the server has not closed, as far as is known yet.
    fn idle(&self, server: usize) -> Option<Connection<TcpStream>> {
        let mut pool = self.pool();
        loop {
            let connection = pool.take(server, Instant::now())?;
            if tcp::is_quiet(&connection.stream) {
                return Some(connection);
            }
        }
    }

    fn keep(&self, server: usize, connection: Connection<TcpStream>, response: Vec<u8>) -> Vec<u8> {
        self.pool().put(server, connection, Instant::now());
        response
    }
}

impl Network for Sockets {
    async fn ask(&self, step: Step, key: &Key, is_repeated: bool) -> io::Result<Vec<u8>> {
        let Step { server, transport } = step;
        let (Some(address), Some(token), Some(path)) =
            (self.addresses.get(server), self.tokens.get(server), self.paths.get(server))
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut question = Question::new(key, *token)?.passing_on(self.passed.with(key));
        if server < self.tier && lock(path).case.is_random(Instant::now().into_std()) {
            question = question.spelled_at_random()?;
        }
        let mut asked = Asked::new(question, path, &self.metrics, is_repeated);
        match transport {
            Transport::Udp => match udp::exchange(server, address, &mut asked, &self.channels).await? {
                Some(response) => Ok(response),
                None => Box::pin(self.ask_in_doubt(server, &mut asked)).await,
            },
            // Boxed, so that an exchange by UDP is not as large as one by TCP.
            Transport::Tcp => Box::pin(self.ask_by_tcp(server, *address, &mut asked)).await,
        }
    }
}

fn lock(path: &Mutex<Path>) -> MutexGuard<'_, Path> {
    // Plain numbers: a panic between two assignments does no harm.
    path.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
