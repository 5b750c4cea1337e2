//! One datagram exchange: a fresh socket and id, read until the matching answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::question::{Question, Verdict};
use crate::cache::key::Key;

/// The largest datagram there is. We ask for 1232 bytes; a server that ignores that is understood too. What is
/// not written to costs address space, not memory.
const LARGEST_DATAGRAM: usize = 65_535;

/// Asks `server`; ends with its answer or an error of the socket. The caller bounds the time.
///
/// The socket is new, so its port is random (RFC 5452 section 9.2), and connected, so the kernel drops what
/// comes from elsewhere and tells us when nobody listens. What does not match is ignored and the socket
/// listened to further: a forged answer must not end the exchange.
pub async fn exchange(server: SocketAddr, key: &Key) -> io::Result<Vec<u8>> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let question = Question::new(key)?;
    let mut with_edns = true;
    socket.send(&question.bytes(with_edns)).await?;
    let mut received = Vec::with_capacity(LARGEST_DATAGRAM);
    loop {
        received.clear();
        socket.recv_buf(&mut received).await?;
        match question.judge(&received) {
            Verdict::Ignore => continue,
            Verdict::WithoutEdns if with_edns => {
                with_edns = false;
                socket.send(&question.bytes(with_edns)).await?;
                continue;
            }
            Verdict::Believe | Verdict::WithoutEdns => {}
        }
        return Ok(received);
    }
}
