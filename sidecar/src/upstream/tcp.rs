//! One stream exchange (RFC 7766).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::question::{Question, Verdict};
use crate::cache::key::Key;

/// Asks `server` over a connection of its own; ends with its answer or an error of the connection. The caller
/// bounds the time.
pub async fn exchange(server: SocketAddr, key: &Key) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let question = Question::new(key)?;
    let asked = question.bytes(true);
    let mut framed = Vec::with_capacity(2 + asked.len());
    framed.extend_from_slice(&(asked.len() as u16).to_be_bytes());
    framed.extend_from_slice(&asked);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut response = vec![0; length];
    stream.read_exact(&mut response).await?;
    match question.judge(&response) {
        // Whoever truncated an answer by UDP knows EDNS or needs none.
        Verdict::Believe | Verdict::WithoutEdns => Ok(response),
        Verdict::Ignore => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
        }
    }
}
