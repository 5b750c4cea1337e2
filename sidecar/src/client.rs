//! HTTP client for the admin port of the running proxy on the loopback, with errors that say what to do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use podlocal_settings::names::{CONTAINER_NAME, SIDECAR_PATH};
use podlocal_settings::table::ADMIN_PORT;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits;
use crate::report::read::Read;

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
pub async fn fetch_document<T: Read>(port: u16, target: &str) -> Result<T, AdminError> {
    let answer =
        timeout(REQUEST_TIMEOUT, get(port, target)).await.map_err(|_| AdminError::Silent { port })?;
    let Answer { status, body } = answer.map_err(|source| AdminError::Unreachable { port, source })?;
    let unexpected =
        |said: &str| AdminError::UnexpectedProgram { port, said: said.trim().chars().take(80).collect() };
    match status {
        Some(200) => {
            let value: Option<Value> = serde_json::from_str(&body).ok();
            value.as_ref().and_then(T::read).ok_or_else(|| unexpected(&body))
        }
        Some(400 | 403 | 503) => Err(AdminError::Refused(body.trim().to_owned())),
        _ => Err(unexpected(&body)),
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Answer {
    /// The status code; `None`: it was not HTTP.
    pub status: Option<u16>,
    /// The body; the whole response if it was not HTTP.
    pub body: String,
}

/// The header that marks requests of this program. An application of the pod that fetches any given address,
/// or a browser, can be tricked into a request to the loopback, but not into sending this header. The
/// metadata servers of cloud providers use the same protection.
pub const OWN_HEADER: &str = "x-podlocal-dns";

/// Makes one request, without a time-out.
pub async fn get(port: u16, target: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{OWN_HEADER}: 1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let version = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
    let status = version.and_then(|rest| rest.get(..3)?.parse().ok());
    let body = if status.is_none() { head } else { body };
    Ok(Answer { status, body: body.to_owned() })
}
