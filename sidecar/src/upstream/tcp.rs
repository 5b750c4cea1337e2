//! One query over TCP (RFC 7766), over an idle connection or a new one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::outgoing::{Arrival, Link, OutgoingQuery, Received};
use super::pool::{self, Connection};
use super::random;
use crate::limits;
use crate::metrics::Transport;

/// Connects to `server`. The caller limits the time.
pub async fn connect(server: SocketAddr) -> io::Result<Connection<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(Connection { stream, expires: Instant::now() + pool::lifetime(random::chance()) })
}

/// Whether an idle connection is still usable. If there is anything to read, the end of the stream included,
/// it is not.
pub fn is_quiet(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends the query over that connection; returns the answer or an error of the connection. The caller limits
/// the time, and keeps the connection only when there is an answer: otherwise a late answer would arrive
/// first for the next query.
pub async fn exchange(stream: &mut TcpStream, query: &mut OutgoingQuery<'_>) -> io::Result<Vec<u8>> {
    let mut link = TcpLink { stream, frames_left: limits::STRAY_FRAMES };
    link.send(&query.bytes()).await?;
    match query.response(&mut link).await? {
        Received::Response(response) | Received::Failure(response) => Ok(response),
        Received::Distrusted(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A connection with one query. A message that does not answer it is skipped, a limited number of times:
/// unlike a datagram it cannot be forged from another address, so the server is confused.
struct TcpLink<'a> {
    stream: &'a mut TcpStream,
    frames_left: usize,
}

impl Link for TcpLink<'_> {
    const TRANSPORT: Transport = Transport::Tcp;

    /// In one write, so that it leaves in one segment (RFC 7766 section 8).
    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(2 + message.len());
        frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
        frame.extend_from_slice(message);
        self.stream.write_all(&frame).await
    }

    async fn receive(&mut self) -> io::Result<Arrival> {
        let Some(left) = self.frames_left.checked_sub(1) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers other queries"));
        };
        self.frames_left = left;
        receive(self.stream).await.map(Arrival::Message)
    }
}

/// Reads one frame. Its memory grows with the bytes that arrive, not with the announced length.
async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut frame = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut frame).await?;
    if frame.len() < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::upstream::path::Path;
    use podlocal_dns::key::Key;
    use podlocal_dns::wire::{self, Flags};
    use tokio::net::TcpListener;

    /// The kind of error of a query to a server that answers it with these bytes and closes.
    async fn error_of(answer: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> io::ErrorKind {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let question = receive(&mut stream).await.expect("a question");
            stream.write_all(&answer(question)).await.expect("sends");
        });
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let (path, metrics, now) =
            (Path::new(address, false).expect("random"), Metrics::new().0, Instant::now());
        let query = OutgoingQuery::new(&key, &path, &metrics, Box::default(), false, now);
        let mut stream = connect(address).await.expect("connects").stream;
        let response = exchange(&mut stream, &mut query.expect("random")).await;
        response.expect_err("no answer").kind()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [(message.len() as u16).to_be_bytes().as_slice(), message].concat()
    }

    #[tokio::test]
    async fn a_server_that_answers_other_questions_is_given_up() {
        assert_eq!(error_of(|_| framed(b"garbage").repeat(100)).await, io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_connection_that_ends_inside_a_frame_is_an_error() {
        for cut in [0, 1, 2, 10] {
            let kind = error_of(move |mut question| {
                // The question with QR set, without its OPT record.
                question.truncate(12 + 7);
                wire::put_counts(&mut question, 1, [0; 3]);
                wire::set_flag(&mut question, Flags::QR);
                framed(&question)[..cut].to_vec()
            });
            assert_eq!(kind.await, io::ErrorKind::UnexpectedEof, "cut to {cut}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_anything_to_read_is_not_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let client = connect(listener.local_addr().expect("an address")).await.expect("connects").stream;
        let (mut server, _) = listener.accept().await.expect("accepts");
        assert!(is_quiet(&client));
        server.write_all(b"x").await.expect("sends");
        client.readable().await.expect("waits");
        assert!(!is_quiet(&client));
        drop(server);
        client.readable().await.expect("waits");
        assert!(!is_quiet(&client));
    }
}
