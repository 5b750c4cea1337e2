//! One datagram exchange: a fresh socket and id, read until the matching answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use tokio::net::UdpSocket;

use super::question::{Question, Verdict};

/// The largest datagram there is. We ask for 1232 bytes; a server that ignores that is understood too.
const LARGEST_DATAGRAM: usize = 65_535;

/// Where datagrams are received, one after another, by every exchange: each waits without a buffer of its own,
/// and takes away no more than its answer.
#[derive(Debug)]
pub struct Buffer(Mutex<Box<[u8]>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Mutex::new(vec![0; LARGEST_DATAGRAM].into_boxed_slice()))
    }
}

/// Asks `server`; ends with its answer or an error of the socket. The caller bounds the time.
///
/// The socket is new, so its port is random (RFC 5452 section 9.2), and connected, so the kernel drops what
/// comes from elsewhere and tells us when nobody listens. What does not match is ignored and the socket
/// listened to further: a forged answer must not end the exchange.
pub async fn exchange(server: SocketAddr, question: &Question<'_>, buffer: &Buffer) -> io::Result<Vec<u8>> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut with_edns = true;
    socket.send(&question.bytes(with_edns)).await?;
    loop {
        socket.readable().await?;
        match receive(&socket, question, buffer)? {
            (Verdict::Ignore, _) => {}
            (Verdict::WithoutEdns, _) if with_edns => {
                with_edns = false;
                socket.send(&question.bytes(with_edns)).await?;
            }
            (Verdict::Believe | Verdict::WithoutEdns, response) => return Ok(response),
        }
    }
}

/// Takes one datagram, if there is one, and copies it when it is not to be ignored. Nothing waits while the
/// buffer is held.
fn receive(socket: &UdpSocket, question: &Question<'_>, buffer: &Buffer) -> io::Result<(Verdict, Vec<u8>)> {
    // A panic while the buffer was held leaves bytes that the next datagram overwrites.
    let mut buffer = buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
    let length = match socket.try_recv(&mut buffer) {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((Verdict::Ignore, Vec::new())),
        Err(error) => return Err(error),
    };
    let datagram = buffer.get(..length).unwrap_or_default();
    Ok(match question.judge(datagram) {
        Verdict::Ignore => (Verdict::Ignore, Vec::new()),
        verdict => (verdict, datagram.to_vec()),
    })
}
