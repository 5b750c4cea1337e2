//! Requests to the admin port of the running proxy on the loopback, with errors that say what to do.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use podlocal_dns::report::http::{self, Response};
use podlocal_dns::upstream::EXCHANGE_TIMEOUT;
use podlocal_settings::names::{CONTAINER_NAME, INSPECT_PATH};
use podlocal_settings::table::ADMIN_PORT;
use serde::de::DeserializeOwned;

/// Why there is no document from the proxy. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AdminError {
    #[error(
        "cannot reach a proxy on the admin port {port}: {source}. In a pod, run the command in the sidecar's own \
         container: kubectl exec POD -c {CONTAINER_NAME} -- {INSPECT_PATH} ...; kubectl logs POD -c \
         {CONTAINER_NAME} shows whether the sidecar runs. A proxy started by hand logs its port in the line \
         \"serving\"; pass it as {} PORT",
        ADMIN_PORT.flag()
    )]
    Unreachable { port: u16, source: io::Error },
    #[error(
        "the admin port {port} did not answer in time: the proxy may be stopped or short of CPU. See kubectl logs \
         POD -c {CONTAINER_NAME} and kubectl describe pod POD"
    )]
    Silent { port: u16 },
    #[error(
        "the program on the admin port {port} is another version of the proxy, or another program; it answered: \
         {said}. Use the program of the proxy's own image: kubectl exec POD -c {CONTAINER_NAME} -- \
         {INSPECT_PATH} ..."
    )]
    UnexpectedProgram { port: u16, said: String },
    #[error("{0}")]
    Refused(String),
}

/// How long the proxy may take for a document: a lookup waits as long as an exchange with the upstream may
/// take.
const REQUEST_TIMEOUT: Duration = EXCHANGE_TIMEOUT.saturating_add(Duration::from_secs(2));

/// Far longer than any document: that of a lookup has up to 64 records of 64 KiB together, and 256 steps.
const LONGEST_ANSWER: usize = 1 << 20;

/// Fetches the document of that target from the proxy.
pub fn fetch_document<T: DeserializeOwned>(port: u16, target: &str) -> Result<T, AdminError> {
    let Response { status, body } = get(port, target, REQUEST_TIMEOUT).map_err(|source| {
        let is_late = matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        if is_late { AdminError::Silent { port } } else { AdminError::Unreachable { port, source } }
    })?;
    let unexpected = || AdminError::UnexpectedProgram { port, said: body.trim().chars().take(80).collect() };
    match status {
        Some(200) => serde_json::from_str(&body).map_err(|_| unexpected()),
        Some(400 | 403 | 503) => Err(AdminError::Refused(body.trim().to_owned())),
        _ => Err(unexpected()),
    }
}

/// Makes one request; the time-out covers all of it.
fn get(port: u16, target: &str, time_out: Duration) -> io::Result<Response> {
    let deadline = Instant::now() + time_out;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), time_out)?;
    stream.set_write_timeout(Some(time_out))?;
    stream.write_all(http::request(target).as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < LONGEST_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            length => bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    Ok(Response::parse(&bytes))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_proxy_that_answers_byte_by_byte_times_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let slow = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepts");
            stream.set_read_timeout(Some(Duration::from_millis(10))).expect("set");
            // Until the client closes the connection.
            let mut request = [0; 1024];
            while stream.write_all(b"x").is_ok() && stream.read(&mut request).map_or(true, |read| read > 0) {}
        });
        let error = get(port, "/stats", Duration::from_millis(200)).expect_err("late");
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        slow.join().expect("ended");
    }
}
