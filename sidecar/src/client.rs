//! HTTP client for the admin port of the running proxy on the loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use podlocal_dns::report::http::{self, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far longer than any answer of a probe.
const LONGEST_ANSWER: u64 = 1 << 16;

/// Makes one request, without a time-out.
pub async fn get(port: u16, target: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.write_all(http::request(target).as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut bytes).await?;
    Ok(Response::parse(&bytes))
}
