//! The admin port, over plain HTTP: `/livez`, `/readyz` and `/metrics` for probes and scrapes, `/lookup` and
//! `/stats` for the pod itself.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use podlocal_dns::report::http::OWN_HEADER;
use podlocal_dns::report::target::{LOOKUP, STATS};
use podlocal_telemetry::Readiness;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::connections::{Bounds, Connections, Seat, accept_all, part};
use crate::limits;
use crate::metrics::{Limit, Metrics};

use introspection::Introspection;

pub mod introspection;
mod trace;

/// Serves until the future is dropped, so that probes are also answered during the drain.
///
/// A probe is never refused. At the limit, the connection that has been idle longest is closed; if the source
/// of the probe is at its own limit, one of that source. A connection is idle while no request of it is being
/// answered.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    metrics: Metrics,
    introspection: Introspection,
) {
    let state = Arc::new(State { registry, readiness, introspection });
    let bounds = Bounds {
        most: (limits::ADMIN_CONNECTIONS, Limit::AdminConnections),
        of_source: (limits::ADMIN_CONNECTIONS_OF_SOURCE, Limit::AdminConnections),
        bytes: (usize::MAX, Limit::AdminConnections),
        bytes_of_each: 0,
    };
    let connections = Connections::new(bounds, metrics, Instant::now().into_std());
    accept_all(&listener, |stream, source| admit(stream, source, &connections, &state)).await;
}

fn admit(stream: TcpStream, source: IpAddr, connections: &Arc<Connections>, state: &Arc<State>) {
    let Some(seat) = connections.admit(source, Instant::now().into_std()) else { return };
    let (state, served) = (Arc::clone(state), Arc::clone(&seat));
    let task = tokio::spawn(async move {
        if timeout(limits::ADMIN_CONNECTION, answer(stream, &state, &served)).await.is_err() {
            tracing::debug!(%source, "an admin connection timed out");
        }
    });
    seat.is_served_by(task.abort_handle());
}

/// Answers one request, then closes the connection.
async fn answer(stream: TcpStream, state: &State, seat: &Seat) {
    let is_from_this_pod = introspection::is_from_this_pod(stream.peer_addr().ok(), stream.local_addr().ok());
    let service = service_fn(|request| {
        Box::pin(async move {
            seat.busy();
            let response = respond(&request, state, is_from_this_pod).await;
            seat.idle_since(Instant::now().into_std());
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::ADMIN_REQUEST)
        .max_buf_size(limits::ADMIN_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
    part(connection.into_parts().io.into_inner()).await;
}

#[derive(Debug)]
struct State {
    registry: Registry,
    readiness: Readiness,
    introspection: Introspection,
}

async fn respond(
    request: &Request<Incoming>,
    state: &State,
    is_from_this_pod: bool,
) -> Response<Full<Bytes>> {
    let State { registry, readiness, introspection } = state;
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n".to_owned());
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match readiness.check() {
            Ok(body) => text(StatusCode::OK, body),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, missing),
        },
        "/metrics" => with_type(
            podlocal_telemetry::CONTENT_TYPE,
            text(StatusCode::OK, podlocal_telemetry::page(registry)),
        ),
        // Others in the cluster must neither read which names a pod looks up nor make it send queries.
        LOOKUP | STATS if !(is_from_this_pod && request.headers().contains_key(OWN_HEADER)) => text(
            StatusCode::FORBIDDEN,
            format!(
                "only requests from the pod itself with the header {OWN_HEADER} are allowed: use kubectl exec to run \
                 podlocal-inspect in the container of the sidecar\n"
            ),
        ),
        LOOKUP => json(introspection.lookup(request.uri().query()).await),
        STATS => json(introspection.stats(request.uri().query())),
        _ => text(
            StatusCode::NOT_FOUND,
            format!("not found; the paths are /livez, /readyz, /metrics, {LOOKUP} and {STATS}\n"),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    with_type("text/plain; charset=utf-8", response)
}

fn json((status, body): introspection::Reply) -> Response<Full<Bytes>> {
    let response = text(status, body);
    if status == StatusCode::OK { with_type("application/json", response) } else { response }
}

fn with_type(content_type: &'static str, mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
