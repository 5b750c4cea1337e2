//! `/livez`, `/readyz` and `/metrics` over plain HTTP, for probes and scrapes; `/lookup` and `/stats` for the pod itself.

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
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::client::OWN_HEADER;
use crate::connections::{Bounds, Connections, Seat, part};
use crate::limits;
use crate::metrics::{Limit, Metrics};
use crate::report::target::{LOOKUP, STATS};

use people::People;

pub mod people;
mod tell;

/// Serves until it is dropped: probes are answered during the drain, too.
///
/// A probe is never refused: when there is no place, the connection that has been idle longest makes room, one of the same source
/// if that has its share. Idle is every connection whose request is not being answered at this moment.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    metrics: Metrics,
    people: People,
) {
    let state = Arc::new(State { registry, readiness, people });
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
        // A new connection is read before others can take its place.
        tokio::task::yield_now().await;
    }
}

fn admit(stream: TcpStream, source: IpAddr, connections: &Arc<Connections>, state: &Arc<State>) {
    let Some(seat) = connections.admit(source, Instant::now().into_std()) else { return };
    let (state, served) = (Arc::clone(state), Arc::clone(&seat));
    let task = tokio::spawn(async move {
        if timeout(limits::ADMIN_CONNECTION, answer(stream, &state, &served)).await.is_err() {
            tracing::debug!(%source, "an admin connection took too long");
        }
    });
    seat.is_served_by(task.abort_handle());
}

/// Answers one request.
async fn answer(stream: TcpStream, state: &State, seat: &Seat) {
    let is_from_here = people::is_from_here(stream.peer_addr().ok(), stream.local_addr().ok());
    let service = service_fn(|request| {
        Box::pin(async move {
            seat.busy();
            let response = respond(&request, state, is_from_here).await;
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
    people: People,
}

async fn respond(request: &Request<Incoming>, state: &State, is_from_here: bool) -> Response<Full<Bytes>> {
    let State { registry, readiness, people } = state;
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
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
        // A stranger in the cluster must neither read what a pod looks for nor make it ask.
        LOOKUP | STATS if !(is_from_here && request.headers().contains_key(OWN_HEADER)) => text(
            StatusCode::FORBIDDEN,
            format!(
                "only the pod itself is answered here, and who sends the header {OWN_HEADER}: kubectl exec into its \
                 sidecar and use lookup or stats\n"
            ),
        ),
        LOOKUP => json(people.lookup(request.uri().query()).await),
        STATS => json(people.stats(request.uri().query())),
        _ => {
            text(StatusCode::NOT_FOUND, format!("here are /livez, /readyz, /metrics, {LOOKUP} and {STATS}\n"))
        }
    }
}

/// Prometheus' text format: whatever scrapes takes it, whatever it says that it would rather have.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json((status, body): people::Reply) -> Response<Full<Bytes>> {
    let mut response = text(status, body);
    if status == StatusCode::OK {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// What is missing for the proxy to be ready. It is ready when every [`Latch`] is dropped, so it cannot be
/// said to be ready by mistake.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

/// Something that must happen first; drop it when it has.
#[derive(Debug)]
pub struct Latch {
    readiness: Readiness,
    what: &'static str,
}

impl Readiness {
    /// Not ready until the latch is dropped.
    pub fn latch(&self, what: &'static str) -> Latch {
        self.lock().push(what);
        Latch { readiness: self.clone(), what }
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
        if let Some(place) = missing.iter().position(|what| *what == self.what) {
            missing.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_latch_is_dropped_and_missing_ones_are_named() {
        let readiness = Readiness::default();
        let (listeners, names) = (readiness.latch("listeners"), readiness.latch("names"));
        drop(listeners);
        assert_eq!(readiness.missing(), ["names"]);
        drop(names);
        assert!(readiness.missing().is_empty());
    }
}
