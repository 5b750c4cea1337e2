//! TCP connections that cost the server memory or time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use podlocal_harness::failure::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::source;

/// The pause before the attacker reopens a connection that the server closed.
const PAUSE: Duration = Duration::from_millis(50);

/// The size of the socket's receive buffer in bytes: the smallest that the kernel allows.
const RECEIVE_BUFFER: u32 = 4096;

/// The bytes that the attacker sends on a connection.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// These bytes once; then the connection waits for the server to close it.
    Once(Vec<u8>),
    /// These bytes in an endless loop, and nothing is read.
    Unread(Vec<u8>),
}

/// Keeps `each` connections open from each of `sources` addresses; a connection that ends is reopened.
pub(super) async fn keep(sources: u16, each: u16, target: SocketAddr, sent: Sent) -> Result<(), Failure> {
    let mut connections = JoinSet::new();
    for number in 0..sources * each {
        let sent = sent.clone();
        // An attacker inside a pod has only one address.
        let source = if target.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { source(number % sources) };
        connections.spawn(async move {
            loop {
                if let Ok(stream) = connect(source, target).await {
                    // Waits until the server closes the connection.
                    let _ = send(stream, &sent).await;
                }
                sleep(PAUSE).await;
            }
        });
    }
    connections.join_all().await;
    Ok(())
}

async fn send(mut stream: TcpStream, sent: &Sent) -> io::Result<()> {
    match sent {
        Sent::Once(bytes) => {
            stream.write_all(bytes).await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        }
        Sent::Unread(bytes) => loop {
            stream.write_all(bytes).await?;
        },
    }
}

async fn connect(source: Ipv4Addr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind((source, 0).into())?;
    socket.connect(target).await
}
