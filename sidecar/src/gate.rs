//! `await` and `health`: check from inside the container whether the running proxy is ready.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use podlocal_dns::report::http::{self, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The time-out of one request to the admin port.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The first pause between two requests; the pause doubles up to [`MAX_PAUSE`]. It is short, because the
/// proxy starts in a few milliseconds, and every pod waits here.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Far longer than any answer to a probe, in bytes.
const LONGEST_ANSWER: u64 = 1 << 16;

/// Waits until the proxy is ready; the error after `max_wait` is the last reason why it is not.
pub async fn wait(port: u16, max_wait: Duration) -> Result<(), String> {
    let deadline = Instant::now() + max_wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let checked = timeout_at(deadline, check(port)).await;
        let Err(reason) = checked.unwrap_or_else(|_| Err(late(port))) else { return Ok(()) };
        if Instant::now() + pause >= deadline {
            return Err(reason);
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Sends one request. The error is the reason why the proxy is not ready, or why that is unknown.
pub async fn check(port: u16) -> Result<(), String> {
    match timeout(REQUEST_TIMEOUT, get(port, "/readyz")).await {
        Ok(Ok(Response { status: Some(200), .. })) => Ok(()),
        Ok(Ok(Response { body, .. })) => Err(body.trim().to_owned()),
        Ok(Err(error)) => Err(format!("no connection to the admin port {port}: {error}")),
        Err(_) => Err(late(port)),
    }
}

fn late(port: u16) -> String {
    format!("the admin port {port} did not answer in time")
}

/// Makes one request to the admin port of the running proxy on the loopback.
async fn get(port: u16, target: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(http::request(target).as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut bytes).await?;
    Ok(Response::parse(&bytes))
}
