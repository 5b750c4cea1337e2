//! The two HTTP services: reviews over TLS, and health and metrics in the clear.
//!
//! Only what is no review at all gets an HTTP error: another path or method, another content type, a body above
//! the limit, a body that does not arrive. The rest is [`admission::review`]'s to answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http::HeaderMap};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::admission::{self, Reviewed, Verdict};
use crate::cluster::Cluster;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::mutate::Policy;
use crate::namespaces::Namespaces;
use crate::readiness::Readiness;

/// The largest review, in bytes. The API server takes objects up to 3 MiB
/// (`MaxRequestBodyBytes` in `k8s.io/apiserver`); a review wraps one.
pub const LARGEST_REVIEW: usize = 4 << 20;

/// How long a request may take, from its head to the last byte of its body; the API server waits 5 s
/// (`timeoutSeconds` in the manifests).
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection may wait for the head of its next request. Above the 90 s after which Go's client, the
/// API server, closes an idle connection itself, so that none is closed under a request.
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
}

/// Whether the program is about to end. From then on every answer closes its connection: a connection that is kept would
/// be closed by the drain at the moment when the API server sends the next review on it. That review would fail, and its pod
/// start without the proxy.
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
        .layer(DefaultBodyLimit::max(LARGEST_REVIEW))
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
                (StatusCode::SERVICE_UNAVAILABLE, format!("missing: {}\n", missing.join(", ")))
            }
        }
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

async fn mutate(State(context): State<Arc<Context>>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected application/json\n").into_response();
    }
    let start = Instant::now();
    let cluster = context.cluster.borrow().clone();
    let annotations_of = |namespace: &str| context.namespaces.annotations(namespace);
    let mut reviewed = admission::review(&body, annotations_of, &cluster, &context.policy);
    context.metrics.reviewed(&reviewed, start.elapsed());
    log(&reviewed);
    if let Some(notice) = reviewed.notice.take() {
        context.events.tell(notice);
    }
    ([(header::CONTENT_TYPE, "application/json")], reviewed.body).into_response()
}

/// The one line per review.
fn log(reviewed: &Reviewed) {
    let Reviewed { verdict, namespace, name, ignored, body: _, notice: _ } = reviewed;
    let (decision, reason) = verdict.labels();
    match verdict {
        Verdict::Done(_) => tracing::info!(namespace, name, decision, reason, ignored, "review"),
        Verdict::Failed(_) => tracing::warn!(namespace, name, decision, reason, ignored, "review"),
    }
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time\n").into_response(),
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
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves over TLS until `handle` ends it. Each handshake runs in its own task.
pub async fn serve_tls(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    router: Router,
    handle: Handle<SocketAddr>,
) -> std::io::Result<()> {
    let acceptor =
        RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls))).handshake_timeout(HANDSHAKE_DEADLINE);
    let mut server =
        axum_server::from_tcp(listener.into_std()?)?.acceptor(acceptor).handle(handle).http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(IDLE_DEADLINE);
    server.serve(router.into_make_service()).await
}

/// Serves in the clear until `handle` ends it.
pub async fn serve_plain(
    listener: TcpListener,
    router: Router,
    handle: Handle<SocketAddr>,
) -> std::io::Result<()> {
    let mut server = axum_server::from_tcp(listener.into_std()?)?.handle(handle).http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(IDLE_DEADLINE);
    server.serve(router.into_make_service()).await
}
