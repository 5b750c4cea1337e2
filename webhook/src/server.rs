//! The two HTTP services: reviews over TLS, and health and metrics in the clear.
//!
//! Only what is no review at all gets an HTTP error: another path or method, another content type, a body
//! that no API server sends, a body that does not arrive. The rest is [`admission::review`]'s to answer.
//!
//! What the memory is spent on, of the 128 MiB of the manifests, whoever asks (`webhook/tests/memory.rs`
//! measures it):
//!
//! | what | at most | bounded by |
//! |---|---|---|
//! | connections: TLS, a request's head, an answer | 45 MiB | [`REVIEWS`], `HEAD`, [`admission::LARGEST_ANSWER`] |
//! | the same in the kernel, which charges the container | 26 MiB | [`REVIEWS`], `SOCKET_BUFFER` |
//! | bodies, unfinished or waiting | 16 MiB | [`REVIEWS`] |
//! | reading and answering them | 22 MiB | `READING`, [`admission::memory`] |
//! | everything else | 10 MiB | |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};

use crate::admission;
use crate::cluster::Cluster;
use crate::connections::{Connections, Limits, Listener, Peer};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::mutate::Policy;
use crate::namespaces::Namespaces;
use crate::readiness::Readiness;

mod body;
mod log;

use body::Arrived;
use log::ReviewLog;

/// The largest review that is read, in bytes: what the API server itself takes for a pod
/// (`MaxRequestBodyBytes` in `k8s.io/apiserver`). A pod that can be stored is smaller, because etcd takes 1.5
/// MiB. A larger review is answered: its pod is allowed as it is.
pub const LARGEST_REVIEW: usize = 3 << 20;

/// The bounds of the port for reviews. All API servers together send a few hundred at a time: each handles
/// 600 requests of all kinds at once (`--max-requests-inflight` and `--max-mutating-requests-inflight`),
/// which wait for other things, too.
pub const REVIEWS: Limits = Limits { connections: 400, bytes: 16 << 20 };

/// The bounds of the port for probes and scrapes, which come one by one.
pub const ADMIN: Limits = Limits { connections: 64, bytes: 0 };

/// The memory that may be used at a time to read and answer reviews, in bytes; further ones wait in order.
/// One of the largest at a time, or as many usual ones as there are threads.
const READING: usize = 22 << 20;

/// The longest head of a request, in bytes, and what is read from a connection at once. The API server's has
/// less than 1 KiB.
const HEAD: usize = 16 << 10;

/// What the kernel keeps of a connection before we read it, and of an answer before the client does, in
/// bytes. The kernel doubles it (socket(7)), and by itself goes up to 6 MiB. More than a usual review and its
/// answer.
const SOCKET_BUFFER: u32 = 16 << 10;

/// How long a request may take, from its head to the last byte of its body; the API server waits 5 s
/// (`timeoutSeconds` in the manifests).
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection may wait for the head of its next request. Above the 90 s after which Go's client,
/// the API server, closes an idle connection itself, so that none is closed under a request.
const IDLE_DEADLINE: Duration = Duration::from_mins(2);

/// How many connections may wait to be accepted: a gang's burst arrives within milliseconds.
const BACKLOG: u32 = 1024;

/// What a review is answered with.
#[derive(Debug)]
pub struct Context {
    /// What is known of the cluster.
    pub cluster: watch::Receiver<Cluster>,
    /// What the operator decided.
    pub policy: Policy,
    /// What is known of the namespaces.
    pub namespaces: Namespaces,
    /// Who tells the owners of pods.
    pub events: Events,
    /// Where reviews are counted.
    pub metrics: Arc<Metrics>,
    /// Where they are logged.
    pub log: ReviewLog,
    /// The memory for reading them.
    pub reading: Semaphore,
}

impl Context {
    /// Of what is known and where it is told.
    pub fn new(
        cluster: watch::Receiver<Cluster>,
        policy: Policy,
        namespaces: Namespaces,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (log, reading) = (ReviewLog::default(), Semaphore::new(READING));
        Self { cluster, policy, namespaces, events, metrics, log, reading }
    }
}

/// Whether the program is about to end. From then on every answer closes its connection: a connection that is
/// kept would be closed by the drain at the moment when the API server sends the next review on it. That
/// review would fail, and its pod start without the proxy.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Begins it.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `POST /mutate`.
pub fn reviews(context: Arc<Context>, draining: Draining) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(middleware::from_fn(within_deadline))
        .layer(middleware::map_response_with_state(draining, close_when_draining))
        .with_state(context)
}

/// `GET /livez`, `/readyz`, `/metrics`.
pub fn admin(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let metrics = move || async move {
        // Whatever scrapes takes it, whatever it says that it would rather have.
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], metrics.page())
    };
    health(readiness).route("/metrics", get(metrics))
}

/// `GET /livez`, `/readyz`.
pub fn health(readiness: Readiness) -> Router {
    let ready = move || {
        let missing = readiness.missing();
        async move {
            if missing.is_empty() {
                (StatusCode::OK, "ok\n".to_owned())
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
            }
        }
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

async fn mutate(
    State(context): State<Arc<Context>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content type: expected application/json\n").into_response();
    }
    let mut holding = peer.guest.begin();
    match body::read(&head.headers, body, &mut holding).await {
        Ok(arrived) => answer(&context, &arrived).await,
        Err(refused) => refused.into_response(),
    }
}

/// Answers a review when there is memory for reading it.
async fn answer(context: &Context, arrived: &Arrived) -> Response {
    let (Arrived::Whole(bytes) | Arrived::TooLarge(bytes)) = arrived;
    let memory = u32::try_from(admission::memory(bytes.len()).min(READING)).unwrap_or(u32::MAX);
    // It is never closed.
    let _memory = context.reading.acquire_many(memory).await;
    let start = Instant::now();
    let mut reviewed = match arrived {
        Arrived::Whole(body) => {
            let cluster = context.cluster.borrow().clone();
            let annotations_of = |namespace: &str| context.namespaces.annotations(namespace);
            admission::review(body, annotations_of, &cluster, &context.policy)
        }
        Arrived::TooLarge(beginning) => admission::too_large(beginning, LARGEST_REVIEW),
    };
    context.metrics.reviewed(&reviewed, start.elapsed());
    context.log.write(&reviewed, &context.namespaces);
    if let Some(notice) = reviewed.notice.take() {
        context.events.tell(notice, &context.namespaces);
    }
    ([(header::CONTENT_TYPE, "application/json")], reviewed.body).into_response()
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "request timed out\n").into_response(),
    }
}

async fn close_when_draining(State(draining): State<Draining>, mut response: Response) -> Response {
    if draining.0.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Binds `address`; without one `port` of every address, both families where there is IPv6.
pub fn bind(address: Option<SocketAddr>, port: u16) -> std::io::Result<TcpListener> {
    let every_v6 = SocketAddr::from(([0_u16; 8], port));
    let every_v4 = SocketAddr::from(([0_u8; 4], port));
    match address {
        Some(address) => bind_one(address),
        None => bind_one(every_v6).or_else(|_| bind_one(every_v4)),
    }
}

fn bind_one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves over TLS until `handle` ends it. Each handshake runs in its own task.
pub async fn serve_tls(
    listener: TcpListener,
    tls: RustlsConfig,
    router: Router,
    metrics: Arc<Metrics>,
    handle: Handle<Peer>,
) -> std::io::Result<()> {
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_DEADLINE);
    let refusals = log::Refusals::default();
    let server = server(listener, Connections::new(REVIEWS, metrics), handle).acceptor(acceptor);
    let server = server.accept_error_handler(move |peer: Option<&Peer>, error| refusals.write(peer, error));
    server.serve(router.into_make_service_with_connect_info::<Peer>()).await
}

/// Serves in the clear until `handle` ends it.
pub async fn serve_plain(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    handle: Handle<Peer>,
) -> std::io::Result<()> {
    let server = server(listener, Connections::new(ADMIN, metrics), handle);
    server.serve(router.into_make_service()).await
}

/// A server whose connections are bounded in number, and each of them in time and memory.
fn server(
    listener: TcpListener,
    connections: Arc<Connections>,
    handle: Handle<Peer>,
) -> Server<Peer, DefaultAcceptor> {
    let listener = Listener::new(listener, connections);
    let mut server = Server::from_listener(listener).handle(handle).http1_only();
    let mut http1 = server.http_builder().http1();
    http1.timer(TokioTimer::new()).header_read_timeout(IDLE_DEADLINE).max_buf_size(HEAD);
    server.first_request_timeout(REQUEST_DEADLINE)
}
