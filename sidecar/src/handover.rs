//! Sockets that the parent process binds and the proxy serves, handed over as SCM_RIGHTS (unix(7)).
//!
//! As soon as the parent has bound them, a query waits in the buffer of its socket. It waits while a busy
//! node has not run the proxy yet, and while a crashed proxy is restarted. A query to a port that no program
//! has bound is refused, and glibc and Go fail a lookup immediately when all nameservers refuse it.
//!
//! The standard input of the proxy is one end of a socket pair. Each message is one byte with two
//! descriptors, UDP and TCP of one address; the stream ends after the last one.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::listen::Pair;

/// The byte of each message; descriptors cannot be sent without one.
const MARK: &[u8; 1] = b"+";

/// Sends the sockets of every worker; the result is the standard input of the process that serves them.
///
/// # Errors
/// Those of sendmsg(2), for example ETOOMANYREFS if the user has too many descriptors in flight.
pub fn send(workers: &[Vec<Pair>]) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    for Pair { udp, tcp } in workers.iter().flatten() {
        let descriptors = [udp.as_fd(), tcp.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&ours, &[IoSlice::new(MARK)], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(theirs.into())
}

/// Receives the sockets of `workers` threads over standard input; empty: none were sent.
///
/// # Errors
/// Those of recvmsg(2), and [`io::ErrorKind::InvalidData`] if a message does not have a pair of descriptors.
pub fn receive(workers: usize) -> io::Result<Vec<Vec<Pair>>> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut pairs = Vec::new();
    while let Some(pair) = receive_pair(&stream)? {
        pairs.push(pair);
    }
    let of_each = pairs.len() / workers.max(1);
    let mut pairs = pairs.into_iter();
    let sockets = (0..workers).map(|_| pairs.by_ref().take(of_each).collect::<Vec<_>>());
    Ok(sockets.filter(|pairs| !pairs.is_empty()).collect())
}

fn receive_pair(stream: &UnixStream) -> io::Result<Option<Pair>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = *MARK;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    match (descriptors.next(), descriptors.next()) {
        (Some(udp), Some(tcp)) => Ok(Some(Pair { udp: UdpSocket::from(udp), tcp: TcpListener::from(tcp) })),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a message without a UDP and a TCP socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::bind;

    #[test]
    fn sockets_arrive_in_order_and_the_stream_ends() {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let workers = bind(&[any, any], 2).expect("binds");
        let stream = UnixStream::from(send(&workers).expect("sends"));
        for pair in workers.iter().flatten() {
            let received = receive_pair(&stream).expect("receives").expect("a pair");
            assert_eq!(received.udp.local_addr().expect("an address"), pair.udp.local_addr().expect("one"));
            assert_eq!(received.tcp.local_addr().expect("an address"), pair.tcp.local_addr().expect("one"));
        }
        assert!(receive_pair(&stream).expect("receives").is_none());
    }
}
