//! The admin port, over plain HTTP: `/livez`, `/readyz` and `/metrics` for probes and scrapes, `/lookup` and
//! `/stats` for the pod itself.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use podlocal_dns::report::http::OWN_HEADER;
use podlocal_dns::report::target::{LOOKUP, STATS};
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::connections::{Bounds, Connections, Seat, part};
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
    loop {
        match listener.accept().await {
            Ok((stream, client)) => admit(stream, client.ip(), &connections, &state),
            Err(error) => {
                tracing::debug!(%error, "cannot accept on the admin port");
                sleep(Duration::from_millis(50)).await;
            }
        }
        // Lets the new connection read its request before another one can close it.
        tokio::task::yield_now().await;
    }
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
        "/readyz" => match readiness.missing() {
            missing if missing.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
            missing => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))),
        },
        "/metrics" => {
            let mut body = String::new();
            match encode_registry(&mut body, registry) {
                Ok(()) => {
                    let mut response = text(StatusCode::OK, body);
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
                    response
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }
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

/// The text format of Prometheus: every scraper accepts it, whatever its `Accept` header prefers.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json((status, body): introspection::Reply) -> Response<Full<Bytes>> {
    let mut response = text(status, body);
    if status == StatusCode::OK {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// The conditions that are missing for the proxy to be ready. It is ready when every [`Latch`] is dropped, so
/// an error path cannot report it as ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

/// A condition for being ready; drop it when the condition is met.
#[derive(Debug)]
pub struct Latch {
    readiness: Readiness,
    condition: &'static str,
}

impl Readiness {
    /// Not ready until the latch is dropped; `/readyz` names the condition.
    pub fn latch(&self, condition: &'static str) -> Latch {
        self.lock().push(condition);
        Latch { readiness: self.clone(), condition }
    }

    fn missing(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        let mut missing = self.readiness.lock();
        if let Some(index) = missing.iter().position(|condition| *condition == self.condition) {
            missing.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_latches_that_are_not_dropped() {
        let readiness = Readiness::default();
        let (listeners, names) = (readiness.latch("listeners"), readiness.latch("names"));
        drop(listeners);
        assert_eq!(readiness.missing(), ["names"]);
        drop(names);
        assert!(readiness.missing().is_empty());
    }
}
