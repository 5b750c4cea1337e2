//! The two HTTP services: admission reviews over TLS, and health and metrics without TLS.
//!
//! Only a request that is not a review gets an HTTP error: another path or method, another content type, a
//! body that no API server sends, a body that does not arrive. [`admission::review`] answers everything else.
//!
//! The use of memory, out of the 128 MiB of the manifests, for any client (`webhook/tests/memory.rs` measures
//! it):
//!
//! | use | at most | limited by |
//! |---|---|---|
//! | connections: TLS, a request's head, an answer | 45 MiB | [`REVIEWS`], `HEAD`, [`admission::LARGEST_ANSWER`] |
//! | socket buffers in the kernel, charged to the container | 26 MiB | [`REVIEWS`], `SOCKET_BUFFER` |
//! | request bodies, incomplete or waiting | 16 MiB | [`REVIEWS`] |
//! | reading and answering them | 22 MiB | `READING`, [`admission::memory`] |
//! | everything else | 10 MiB | |

use std::future::ready;
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
use podlocal_telemetry::Readiness;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};

use crate::cluster::events::Events;
use crate::cluster::namespaces::Namespaces;
use crate::connections::{Connections, Limits, Listener, Peer};
use crate::metrics::Metrics;
use crate::review::admission;
use crate::review::cluster_state::Cluster;
use crate::review::mutate::Policy;

mod body;
mod log;

use body::ReceivedBody;
use log::ReviewLog;

/// The largest review that is read, in bytes: the size that the API server itself accepts for a pod
/// (`MaxRequestBodyBytes` in `k8s.io/apiserver`). A pod that can be stored is smaller, because etcd accepts
/// 1.5 MiB. A larger review is answered, too: its pod is allowed unchanged.
pub const LARGEST_REVIEW: usize = 3 << 20;

/// The limits of the port for reviews. All API servers together send a few hundred at a time: each handles
/// 600 requests of all kinds at once (`--max-requests-inflight` and `--max-mutating-requests-inflight`), and
/// most of these do not wait for the webhook.
pub const REVIEWS: Limits = Limits { connections: 400, bytes: 16 << 20 };

/// The limits of the port for probes and scrapes, which arrive one by one.
pub const ADMIN: Limits = Limits { connections: 64, bytes: 0 };

/// The memory for reading and answering reviews at the same time, in bytes; further reviews wait in order. It
/// is enough for one review of the largest size, or for as many typical reviews as there are threads.
const READING: usize = 22 << 20;

/// The largest head of a request, in bytes, and the size of one read from a connection. The API server sends
/// less than 1 KiB.
const HEAD: usize = 16 << 10;

/// The size of the receive and of the send buffer of a socket, in bytes. The kernel doubles it (socket(7)),
/// and would grow it up to 6 MiB by itself. A typical review and its answer are smaller.
const SOCKET_BUFFER: u32 = 16 << 10;

/// The time limit of a request, from its head to the last byte of its body; the API server waits 5 s
/// (`timeoutSeconds` in the manifests).
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// The time limit of a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection may be idle before the head of its next request. It is above the 90 s after which
/// the Go client of the API server closes an idle connection, so that no connection is closed while a request
/// is on its way.
const IDLE_DEADLINE: Duration = Duration::from_mins(2);

/// How many connections may wait to be accepted: the burst of a gang arrives within milliseconds.
const BACKLOG: u32 = 1024;

/// The state with which reviews are answered.
#[derive(Debug)]
pub(crate) struct Context {
    /// The observed state of the cluster.
    pub(crate) cluster: watch::Receiver<Cluster>,
    /// The image and defaults that the operator has set.
    pub(crate) policy: Policy,
    /// The labels and annotations of the namespaces.
    pub(crate) namespaces: Namespaces,
    /// Publishes Events on the owners of pods.
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: ReviewLog,
    /// One permit per byte of memory for reading reviews.
    pub(crate) reading: Semaphore,
}

impl Context {
    /// With an empty log and all memory for reading available.
    pub(crate) fn new(
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

/// Whether the program drains. From then on every response closes its connection: otherwise the drain would
/// close a kept connection at the moment when the API server sends the next review on it. That review would
/// fail, and its pod would start without the sidecar.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `POST /mutate`.
pub(crate) fn reviews(context: Arc<Context>, draining: Draining) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(middleware::from_fn(within_deadline))
        .layer(middleware::map_response_with_state(draining, close_when_draining))
        .with_state(context)
}

/// `GET /livez`, `/readyz`, `/metrics`.
pub(crate) fn admin(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let metrics =
        move || async move { ([(header::CONTENT_TYPE, podlocal_telemetry::CONTENT_TYPE)], metrics.page()) };
    health(readiness).route("/metrics", get(metrics))
}

/// `GET /livez`, `/readyz`.
pub(crate) fn health(readiness: Readiness) -> Router {
    let ready =
        move || ready(readiness.check().map_err(|missing| (StatusCode::SERVICE_UNAVAILABLE, missing)));
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
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content type: expected application/json\n")
            .into_response();
    }
    let mut held_bytes = peer.slot.begin_request();
    match body::read(&head.headers, body, &mut held_bytes).await {
        Ok(received) => answer(&context, &received).await,
        Err(error) => error.into_response(),
    }
}

/// Answers a review as soon as there is memory for reading it.
async fn answer(context: &Context, received: &ReceivedBody) -> Response {
    let (ReceivedBody::Complete(bytes) | ReceivedBody::TooLarge(bytes)) = received;
    let memory = u32::try_from(admission::memory(bytes.len()).min(READING)).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    let _memory = context.reading.acquire_many(memory).await;
    let start = Instant::now();
    let mut reviewed = match received {
        ReceivedBody::Complete(body) => {
            let cluster = context.cluster.borrow().clone();
            let annotations_of = |namespace: &str| context.namespaces.annotations(namespace);
            admission::review(body, annotations_of, &cluster, &context.policy)
        }
        ReceivedBody::TooLarge(beginning) => admission::too_large(beginning, LARGEST_REVIEW),
    };
    context.metrics.reviews.inc(reviewed.outcome);
    context.metrics.review_duration.observe(start.elapsed().as_secs_f64());
    context.metrics.settings_ignored.inc_by(reviewed.ignored as u64);
    context.log.write(&reviewed, &context.namespaces);
    if let Some(notice) = reviewed.notice.take() {
        context.events.publish(notice, &context.namespaces);
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

/// Binds `address`; without one, `port` on every address, of both families if the host has IPv6.
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
pub(crate) async fn serve_tls(
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

/// Serves without TLS until `handle` ends it.
pub(crate) async fn serve_plain(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    handle: Handle<Peer>,
) -> std::io::Result<()> {
    let server = server(listener, Connections::new(ADMIN, metrics), handle);
    server.serve(router.into_make_service_with_connect_info::<Peer>()).await
}

/// A server with a limited number of connections, each with limited time and memory.
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
