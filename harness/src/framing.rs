//! DNS over UDP, and over TCP: two bytes of length before each message (RFC 1035 section 4.2.2).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The transport of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// In a connection.
    Tcp,
}

/// The number of attempts to find a port that is free for both UDP and TCP.
const PORT_ATTEMPTS: usize = 20;

/// Binds UDP and TCP to one port. A port that the kernel chooses for UDP may be in use for TCP.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => {}
        }
    }
}

/// Serves both until the returned tasks are dropped. `respond` returns the answer to a message, with the time
/// until it is sent, or `None`: no answer. A connection is closed after the time `idle` without a query.
pub fn serve_both<R>((udp, tcp): (UdpSocket, TcpListener), idle: Duration, respond: Arc<R>) -> JoinSet<()>
where
    R: Fn(&[u8], Transport) -> Option<(Duration, Vec<u8>)> + Send + Sync + 'static,
{
    let mut tasks = JoinSet::new();
    let for_udp = Arc::clone(&respond);
    tasks.spawn(serve_udp(Arc::new(udp), move |query| for_udp(query, Transport::Udp)));
    tasks.spawn(serve(tcp, move |mut stream| {
        let respond = Arc::clone(&respond);
        // One query at a time.
        async move {
            loop {
                let Ok(query) = timeout(idle, read(&mut stream)).await else { return Ok(()) };
                let Some((delay, response)) = respond(&query?, Transport::Tcp) else { continue };
                sleep(delay).await;
                write(&mut stream, &response).await?;
            }
        }
    }));
    tasks
}

async fn serve_udp(socket: Arc<UdpSocket>, respond: impl Fn(&[u8]) -> Option<(Duration, Vec<u8>)>) {
    let mut late = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An answer to a closed port is reported as an error here.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Some((delay, response)) = respond(&buffer[..length]) else { continue };
        if delay.is_zero() {
            // The client may have ended already.
            let _ = socket.send_to(&response, client).await;
            continue;
        }
        let socket = Arc::clone(&socket);
        late.spawn(async move {
            sleep(delay).await;
            let _ = socket.send_to(&response, client).await;
        });
        while late.try_join_next().is_some() {}
    }
}

/// Reads the next message of a connection.
pub async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Sends a message, in one segment if it fits.
pub async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(message)).await
}

/// The message with its length before it; a message has at most 65,535 bytes.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Accepts connections, and serves each in a task; all of them end when this is dropped.
pub async fn serve<S>(listener: TcpListener, serve_connection: impl Fn(TcpStream) -> S)
where
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let connection = serve_connection(stream);
        // An error ends the connection only.
        connections.spawn(async move { connection.await.ok() });
        while connections.try_join_next().is_some() {}
    }
}
