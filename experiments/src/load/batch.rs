//! Datagrams in batches, so that the load generator uses less CPU time than the server.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use hickory_proto::op::Edns;
use hickory_proto::rr::RecordType;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client;

/// The number of datagrams in a batch.
pub(crate) const BATCH: usize = 32;

/// The size of the receive buffer in bytes; the answers here are smaller.
const LARGEST: usize = 512;

/// A query as a sidecar sends it, with EDNS and a UDP size of 1232 bytes.
pub(crate) fn question(id: u16, name: &str, record_type: RecordType) -> Result<Vec<u8>, Failure> {
    let mut message = client::question(name, record_type)?;
    message.metadata.id = id;
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message.to_vec().with_context(|| format!("asking for {name}"))
}

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
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)
        .with_context(|| "asking for times of arrival".to_owned())
}

/// A socket that sends queries of `length` bytes, written together, as separate datagrams: they pass the
/// kernel as one unit and arrive one by one (udp(7), `UDP_SEGMENT`).
pub(crate) fn connected_for(
    length: usize,
    source: Ipv4Addr,
    server: SocketAddr,
) -> Result<UdpSocket, Failure> {
    let socket = connected(source, server)?;
    let segments = i32::try_from(length).with_context(|| format!("datagrams of {length} bytes"))?;
    setsockopt(&socket, sockopt::UdpGsoSegment, &segments)
        .with_context(|| "sending in segments".to_owned())?;
    Ok(socket)
}

/// Sends concatenated queries. Returns whether they were sent.
pub(crate) fn send_row(socket: &UdpSocket, row: &[u8]) -> io::Result<bool> {
    match socket.send(row) {
        Ok(_) => Ok(true),
        Err(error) if is_no_failure(error.raw_os_error().map(Errno::from_raw)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends datagrams of any length.
pub(crate) struct Sender(MultiHeaders<()>);

impl Sender {
    pub(crate) fn new() -> Self {
        Self(MultiHeaders::preallocate(BATCH, None))
    }

    /// Sends at most the first [`BATCH`] of these. Returns how many were sent, which may be 0.
    pub(crate) fn send(&mut self, socket: &UdpSocket, datagrams: &[[IoSlice<'_>; 1]]) -> io::Result<usize> {
        const NO_OPTIONS: [ControlMessage<'_>; 0] = [];
        let to = [None::<()>; BATCH];
        let sent =
            sendmmsg(socket.as_raw_fd(), &mut self.0, datagrams, to, NO_OPTIONS, MsgFlags::MSG_DONTWAIT);
        or_none(sent.map(Iterator::count))
    }
}

/// Receives datagrams in batches.
pub(crate) struct Receiver {
    headers: MultiHeaders<()>,
    buffers: Box<[[u8; LARGEST]; BATCH]>,
    received: [(usize, Duration); BATCH],
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            buffers: Box::new([[0; LARGEST]; BATCH]),
            received: [(0, Duration::ZERO); BATCH],
        }
    }

    /// Receives the available datagrams, at most [`BATCH`]: each with its arrival time since 1970, if
    /// [`note_arrivals`] has enabled that.
    pub(crate) fn receive<'a>(
        &'a mut self,
        socket: &UdpSocket,
    ) -> io::Result<impl Iterator<Item = (&'a [u8], Duration)> + use<'a>> {
        let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None);
        let count = or_none(received.map(|messages| {
            let mut count = 0;
            for (message, place) in messages.zip(&mut self.received) {
                let time =
                    message.cmsgs().ok().and_then(|mut options| options.find_map(|option| time(&option)));
                *place = (message.bytes, time.unwrap_or_default());
                count += 1;
            }
            count
        }))?;
        let received = self.received.iter().take(count);
        Ok(received.zip(self.buffers.iter()).map(|((length, time), buffer)| (&buffer[..*length], *time)))
    }
}

/// The RCODE of a message.
pub(crate) fn rcode(message: &[u8]) -> Option<u8> {
    message.get(3).map(|byte| byte & 0x0f)
}

fn time(option: &ControlMessageOwned) -> Option<Duration> {
    match option {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(*time)),
        _ => None,
    }
}

fn or_none(outcome: nix::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if is_no_failure(Some(error)) => Ok(0),
        outcome => outcome.map_err(io::Error::from),
    }
}

/// A full buffer, no datagram, or a closed port is not a failure over UDP.
fn is_no_failure(error: Option<Errno>) -> bool {
    matches!(error, Some(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::EINTR | Errno::ENOBUFS))
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sender")
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Receiver")
    }
}
