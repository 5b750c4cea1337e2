//! Datagrams in batches, so that the load generator uses less CPU time than the server.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use podlocal_harness::failure::{Failure, WithContext};

/// The number of datagrams in a batch.
pub(crate) const BATCH: usize = 32;

/// The size of the receive buffer in bytes; the answers here are smaller.
const LARGEST: usize = 512;

/// A non-blocking socket from this source address to one server, with a new port.
pub(crate) fn connected(source: Ipv4Addr, server: SocketAddr) -> Result<UdpSocket, Failure> {
    let opening = || format!("opening a socket from {source} to {server}");
    let socket = UdpSocket::bind((source, 0)).with_context(opening)?;
    socket.connect(server).with_context(opening)?;
    socket.set_nonblocking(true).with_context(opening)?;
    Ok(socket)
}

/// Enables arrival times of datagrams, which the kernel records.
pub(crate) fn note_arrivals(socket: &UdpSocket) -> Result<(), Failure> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).with_context("asking for times of arrival")
}

/// Sends queries as separate datagrams. Those of one length pass the kernel as one unit and arrive one by one
/// (udp(7), `UDP_SEGMENT`). Returns whether all were sent.
pub(crate) fn send(socket: &UdpSocket, queries: &[Vec<u8>]) -> io::Result<bool> {
    let length = queries.first().map_or(0, Vec::len) as u16;
    let are_alike = queries.iter().all(|query| query.len() == usize::from(length));
    let mut are_sent = true;
    for unit in queries.chunks(if are_alike { BATCH } else { 1 }) {
        let parts: Vec<_> = unit.iter().map(|query| IoSlice::new(query)).collect();
        let segments = [ControlMessage::UdpGsoSegments(&length)];
        let options = if are_alike { &segments[..] } else { &[] };
        match sendmsg::<()>(socket.as_raw_fd(), &parts, options, MsgFlags::MSG_DONTWAIT, None) {
            Err(error) if is_no_failure(error) => are_sent = false,
            sent => _ = sent?,
        }
    }
    Ok(are_sent)
}

/// Receives datagrams in batches.
pub(crate) struct Receiver {
    headers: MultiHeaders<()>,
    buffers: Box<[[u8; LARGEST]; BATCH]>,
    received: [(usize, Duration); BATCH],
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            buffers: Box::new([[0; LARGEST]; BATCH]),
            received: [(0, Duration::ZERO); BATCH],
        }
    }
}

impl Receiver {
    /// Receives the available datagrams, at most [`BATCH`]: each with its arrival time since 1970, if
    /// [`note_arrivals`] has enabled that.
    pub(crate) fn receive<'a>(
        &'a mut self,
        socket: &UdpSocket,
    ) -> io::Result<impl ExactSizeIterator<Item = (&'a [u8], Duration)> + use<'a>> {
        let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None);
        let mut count = 0;
        match received {
            Err(error) if is_no_failure(error) => {}
            received => {
                for (message, place) in received?.zip(&mut self.received) {
                    let time = |option| match option {
                        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                        _ => None,
                    };
                    let time = message.cmsgs().ok().and_then(|mut options| options.find_map(time));
                    *place = (message.bytes, time.unwrap_or_default());
                    count += 1;
                }
            }
        }
        let received = self.received.iter().take(count);
        Ok(received.zip(self.buffers.iter()).map(|((length, time), buffer)| (&buffer[..*length], *time)))
    }
}

/// A full buffer, no datagram, or a closed port is not a failure over UDP.
fn is_no_failure(error: Errno) -> bool {
    matches!(error, Errno::EAGAIN | Errno::ECONNREFUSED | Errno::EINTR | Errno::ENOBUFS)
}
