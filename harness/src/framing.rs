//! DNS over TCP: two bytes of length before each message (RFC 1035 section 4.2.2).

use std::future::Future;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
