//! TCP connections that cost the server memory or time.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use podlocal_harness::cluster::metrics::SIDECAR_PORT;
use podlocal_harness::failure::Failure;
use podlocal_harness::framing::framed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{query, source};

/// The pause before the attacker reopens a connection that the server closed.
const PAUSE: Duration = Duration::from_millis(50);

/// The size of the socket's receive buffer in bytes: the smallest that the kernel allows.
const RECEIVE_BUFFER: u32 = 4096;

/// A name with a large answer.
const LARGE: &str = "hit.large.test";

/// Keeps 200 idle connections to the admin port open.
pub(super) async fn idle(target: Ipv4Addr) -> Result<(), Failure> {
    keep(1, 200, (target, SIDECAR_PORT).into(), async |mut stream| {
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    })
    .await
}

/// Requests the metrics in an endless loop and reads no response.
pub(super) async fn unread_metrics(target: Ipv4Addr) -> Result<(), Failure> {
    keep(1, 200, (target, SIDECAR_PORT).into(), async |stream| {
        write_for_ever(stream, b"GET /metrics HTTP/1.1\r\nHost: tier\r\n\r\n").await
    })
    .await
}

/// Sends queries in an endless loop and reads no answer.
pub(super) async fn unread_answers(target: Ipv4Addr, sources: u16, each: u16) -> Result<(), Failure> {
    let query = framed(&query(LARGE, RecordType::TXT)?);
    keep(sources, each, (target, 53).into(), move |stream| {
        let query = query.clone();
        async move { write_for_ever(stream, &query).await }
    })
    .await
}

/// Sends only the two bytes with the length of a query.
pub(super) async fn unfinished_queries(target: Ipv4Addr, sources: u16, each: u16) -> Result<(), Failure> {
    keep(sources, each, (target, 53).into(), async |mut stream| {
        stream.write_all(&u16::MAX.to_be_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    })
    .await
}

async fn write_for_ever(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
    }
}

/// Keeps `each` connections open from each of `sources` addresses. `using` runs on each connection; a
/// connection that ends is reopened.
async fn keep<Using, Used>(sources: u16, each: u16, target: SocketAddr, using: Using) -> Result<(), Failure>
where
    Using: Fn(TcpStream) -> Used + Clone + Send + Sync + 'static,
    Used: Future<Output = io::Result<()>> + Send,
{
    let mut connections = JoinSet::new();
    for number in 0..sources * each {
        let using = using.clone();
        // An attacker inside a pod has only one address.
        let source = if target.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { source(number % sources) };
        connections.spawn(async move {
            loop {
                if let Ok(stream) = connect(source, target).await {
                    // Waits until the server closes the connection.
                    let _ = using(stream).await;
                }
                sleep(PAUSE).await;
            }
        });
    }
    connections.join_all().await;
    Ok(())
}

async fn connect(source: Ipv4Addr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind((source, 0).into())?;
    socket.connect(target).await
}
