//! `/livez`, `/readyz` and `/metrics` over plain HTTP, for probes and scrapes; `/lookup` and `/stats` for the pod itself.

use std::convert::Infallible;
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
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::client::OWN_HEADER;
use crate::limits;
use crate::metrics::{Limit, Metrics};
use crate::report::target::{LOOKUP, STATS};

use people::People;

pub mod people;
mod tell;

/// Serves until it is dropped: probes are answered during the drain, too.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    metrics: Metrics,
    people: People,
) {
    let state = Arc::new(State { registry, readiness, people });
    let connections = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        let (stream, place) = match (listener.accept().await, Arc::clone(&connections).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => (stream, place),
            (Ok(_), Err(_)) => {
                metrics.limit_reached(Limit::AdminConnections);
                continue;
            }
            (Err(error), _) => {
                tracing::debug!(%error, "cannot accept on the admin port");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        let is_from_here = people::is_from_here(stream.peer_addr().ok(), stream.local_addr().ok());
        tokio::spawn(async move {
            let state = &*state;
            let service = service_fn(|request| async move {
                Ok::<_, Infallible>(respond(&request, state, is_from_here).await)
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::ADMIN_REQUEST)
                .max_buf_size(limits::ADMIN_HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended early");
            }
            drop(place);
        });
    }
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
