//! One query over TCP (RFC 7766), over an idle connection or a new one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::outgoing::OutgoingQuery;
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
///
/// A message that does not answer this query is skipped, a limited number of times: unlike a datagram it
/// cannot be forged from another address, so the server is confused.
pub async fn exchange(stream: &mut TcpStream, query: &mut OutgoingQuery<'_>) -> io::Result<Vec<u8>> {
    send(stream, &query.bytes()).await?;
    let (must_resend, response) = receive_response(stream, query).await?;
    if must_resend {
        // Such a server may close the connection as well.
        let again = Box::pin(timeout(limits::WITHOUT_EDNS_TIMEOUT, async {
            send(stream, &query.bytes()).await?;
            receive_response(stream, query).await
        }));
        let again = again.await;
        if let Ok(Ok((_, response))) = again {
            return Ok(response);
        }
        query.record_fallback_failure();
    }
    Ok(response)
}

/// The first message that is not ignored, and whether to resend the query without EDNS before returning it.
async fn receive_response(
    stream: &mut TcpStream,
    query: &mut OutgoingQuery<'_>,
) -> io::Result<(bool, Vec<u8>)> {
    for _ in 0..limits::STRAY_FRAMES {
        let frame = receive(stream).await?;
        if let Some(received) = query.receive(&frame, Transport::Tcp).response(|| frame) {
            return Ok(received);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers other queries"))
}

/// In one write, so that it leaves in one segment (RFC 7766 section 8).
async fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(2 + message.len());
    frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
    frame.extend_from_slice(message);
    stream.write_all(&frame).await
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
    use crate::upstream::loop_detection::LoopMarker;
    use crate::upstream::query_message::QueryMessage;
    use podlocal_dns::key::Key;
    use podlocal_dns::wire::{self, Flags};
    use std::sync::Mutex;
    use tokio::net::TcpListener;

    /// A connection to a server that answers its first question with these bytes and closes.
    async fn served(answer: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let question = receive(&mut stream).await.expect("a question");
            stream.write_all(&answer(question)).await.expect("sends");
        });
        connect(address).await.expect("connects").stream
    }

    async fn asked(answer: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> io::Result<Vec<u8>> {
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
        let (path, (metrics, _)) = (Mutex::default(), Metrics::new());
        exchange(
            &mut served(answer).await,
            &mut OutgoingQuery::new(question, &path, &metrics, false, Instant::now()),
        )
        .await
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [(message.len() as u16).to_be_bytes().as_slice(), message].concat()
    }

    /// The server's answer: the question with QR set, without its OPT record.
    fn answer(mut question: Vec<u8>) -> Vec<u8> {
        question.truncate(12 + 7);
        wire::put_counts(&mut question, 1, [0; 3]);
        question[2] |= 0x80;
        question
    }

    #[tokio::test]
    async fn empty_frames_and_frames_for_other_questions_are_skipped() {
        let response = asked(|question| {
            let good = answer(question);
            let mut other_id = good.clone();
            other_id[0] ^= 1;
            [framed(&[]), framed(b"garbage"), framed(&other_id), framed(&good)].concat()
        });
        assert!(response.await.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_answers_other_questions_is_given_up() {
        let response = asked(|_| framed(b"garbage").repeat(100)).await;
        assert_eq!(response.expect_err("no answer").kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_connection_that_ends_inside_a_frame_is_an_error() {
        for cut in [0, 1, 2, 10] {
            let response = asked(move |question| {
                let mut frame = framed(&answer(question));
                frame.truncate(cut);
                frame
            });
            let error = response.await.expect_err("no answer");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut to {cut}");
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
