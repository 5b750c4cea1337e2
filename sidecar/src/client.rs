//! HTTP client for the admin port of the running proxy on the loopback, with errors that say what to do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use podlocal_dns::report::http::{self, Response};
use podlocal_settings::names::{CONTAINER_NAME, SIDECAR_PATH};
use podlocal_settings::table::ADMIN_PORT;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits;

/// Why there is no document from the proxy. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No program listens on the admin port, or the connection broke.
    #[error(
        "cannot reach a proxy on the admin port {port}: {source}. In a pod, run the command in the sidecar's own \
         container: kubectl exec POD -c {CONTAINER_NAME} -- {SIDECAR_PATH} ...; kubectl logs POD -c \
         {CONTAINER_NAME} shows whether the sidecar runs. A proxy started by hand logs its port in the line \
         \"serving\"; pass it as {} PORT",
        ADMIN_PORT.flag()
    )]
    Unreachable {
        /// The admin port.
        port: u16,
        /// The error of the operating system.
        source: io::Error,
    },
    /// There was no complete answer in time.
    #[error(
        "the admin port {port} did not answer in time: the proxy may be stopped or short of CPU. See kubectl logs \
         POD -c {CONTAINER_NAME} and kubectl describe pod POD"
    )]
    Silent {
        /// The admin port.
        port: u16,
    },
    /// The answer is not one of this version of the proxy.
    #[error(
        "the program on the admin port {port} is another version of the proxy, or another program; it answered: \
         {said}. Use the program of the proxy's own image: kubectl exec POD -c {CONTAINER_NAME} -- \
         {SIDECAR_PATH} ..."
    )]
    UnexpectedProgram {
        /// The admin port.
        port: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// The proxy refused the request, with this reason.
    #[error("{0}")]
    Refused(String),
}

/// How long the proxy may take for a document: a lookup waits for the upstream's deadline.
const REQUEST_TIMEOUT: Duration = limits::DEADLINE.saturating_add(Duration::from_secs(2));

/// Far longer than any document: that of a lookup has up to 64 records of 64 KiB together, and 256 steps.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Fetches the document of that target from the proxy.
pub async fn fetch_document<T: DeserializeOwned>(port: u16, target: &str) -> Result<T, AdminError> {
    let answer =
        timeout(REQUEST_TIMEOUT, get(port, target)).await.map_err(|_| AdminError::Silent { port })?;
    let Response { status, body } = answer.map_err(|source| AdminError::Unreachable { port, source })?;
    let unexpected =
        |said: &str| AdminError::UnexpectedProgram { port, said: said.trim().chars().take(80).collect() };
    match status {
        Some(200) => serde_json::from_str(&body).map_err(|_| unexpected(&body)),
        Some(400 | 403 | 503) => Err(AdminError::Refused(body.trim().to_owned())),
        _ => Err(unexpected(&body)),
    }
}

/// Makes one request, without a time-out.
pub async fn get(port: u16, target: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(http::request(target).as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut bytes).await?;
    Ok(Response::parse(&bytes))
}
