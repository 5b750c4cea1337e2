//! Asking the running proxy, over its admin port on the loopback; and what to do when that fails.

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

/// Why the proxy did not tell what it was asked. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens on the admin port, or the connection broke.
    #[error(
        "nobody answers on the admin port {port} ({source}). In a pod, ask in the sidecar's own container: kubectl exec \
         POD -c {CONTAINER_NAME} -- {SIDECAR_PATH} ...; kubectl logs POD -c {CONTAINER_NAME} shows whether it runs. A \
         proxy started by hand says its port in the log's line \"serving\": {} PORT",
        ADMIN_PORT.flag()
    )]
    NobodyThere {
        /// The port that was asked.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// No whole answer in time.
    #[error(
        "the admin port {port} did not answer in time: the proxy may be stopped, or short of CPU; kubectl logs POD -c \
         {CONTAINER_NAME} and kubectl describe pod POD tell more"
    )]
    Silent {
        /// The port that was asked.
        port: u16,
    },
    /// What came is not what this version of the proxy says.
    #[error(
        "who answers on the admin port {port} is another version of the proxy, or another program (it said: {said}). Ask \
         with the program of the proxy's own image: kubectl exec POD -c {CONTAINER_NAME} -- {SIDECAR_PATH} ..."
    )]
    Stranger {
        /// The port that was asked.
        port: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// The proxy says why not.
    #[error("{0}")]
    Refused(String),
}

/// How long the proxy may take for a document: a look-up waits for the upstream's deadline.
const PATIENCE: Duration = limits::DEADLINE.saturating_add(Duration::from_secs(2));

/// Far more than any document is long: a look-up's holds 64 records of 64 KiB together, and 256 steps.
const LONGEST_ANSWER: u64 = 1 << 20;

/// What the proxy says to that target, read as a document.
pub async fn document<T: Read>(port: u16, target: &str) -> Result<T, Failure> {
    let answer = timeout(PATIENCE, get(port, target)).await.map_err(|_| Failure::Silent { port })?;
    let Answer { status, body } = answer.map_err(|source| Failure::NobodyThere { port, source })?;
    let stranger = |said: &str| Failure::Stranger { port, said: said.trim().chars().take(80).collect() };
    match status {
        Some(200) => {
            let value: Option<Value> = serde_json::from_str(&body).ok();
            value.as_ref().and_then(T::read).ok_or_else(|| stranger(&body))
        }
        Some(400 | 403 | 503) => Err(Failure::Refused(body.trim().to_owned())),
        _ => Err(stranger(&body)),
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status; `None`: it was not HTTP.
    pub status: Option<u16>,
    /// Its body.
    pub body: String,
}

/// The header of our own requests. An application of the pod that fetches whatever address it is given, or a
/// browser, can be made to ask on the loopback, too, but not to send this; cloud providers' metadata servers
/// do the same.
pub const OWN_HEADER: &str = "x-podlocal-dns";

/// Asks once, however long that takes.
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
