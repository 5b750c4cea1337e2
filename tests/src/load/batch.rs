//! Datagrams by the dozen, so that who measures takes less of the machine than what is measured.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, sendmmsg, sendmsg, setsockopt,
    sockopt,
};
use nix::sys::time::TimeSpec;

use crate::failure::{Failure, Tried};

/// Datagrams that go together.
pub(crate) const BATCH: usize = 32;

/// The largest answer that is read; the names that are asked for here have small ones.
const LARGEST: usize = 512;

/// A question as a sidecar asks it: EDNS with 1232 bytes.
pub(crate) fn question(id: u16, name: &str, record_type: RecordType) -> Result<Vec<u8>, Failure> {
    let asking = || format!("asking for {name}");
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).tried(asking)?, record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message.to_vec().tried(asking)
}

/// A socket of that source that speaks to one server, from a new port; it never waits.
pub(crate) fn connected(source: Ipv4Addr, server: SocketAddr) -> Result<UdpSocket, Failure> {
    let opening = || format!("opening a socket from {source} to {server}");
    let socket = UdpSocket::bind((source, 0)).tried(opening)?;
    socket.connect(server).tried(opening)?;
    socket.set_nonblocking(true).tried(opening)?;
    Ok(socket)
}

/// The same, and the kernel says when datagrams came; that costs whoever sends them a look at the clock.
pub(crate) fn timed(source: Ipv4Addr, server: SocketAddr) -> Result<UdpSocket, Failure> {
    let socket = connected(source, server)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
        .tried(|| "asking for times of arrival".to_owned())?;
    Ok(socket)
}

/// Sends.
pub(crate) struct Sender(MultiHeaders<()>);

impl Sender {
    pub(crate) fn new() -> Self {
        Self(MultiHeaders::preallocate(BATCH, None))
    }

    /// Sends the first [`BATCH`] of these at most; how many were sent, which may be none.
    pub(crate) fn send(&mut self, socket: &UdpSocket, datagrams: &[[IoSlice<'_>; 1]]) -> io::Result<usize> {
        const NO_OPTIONS: [ControlMessage<'_>; 0] = [];
        let to = [None::<()>; BATCH];
        let sent =
            sendmmsg(socket.as_raw_fd(), &mut self.0, datagrams, to, NO_OPTIONS, MsgFlags::MSG_DONTWAIT);
        or_none(sent.map(Iterator::count))
    }
}

/// Sends datagrams of one length, of which the last may be shorter, as one that the kernel takes apart where it arrives
/// (UDP_SEGMENT, udp(7)): the way there is paid for once. How many were sent: all, or none.
pub(crate) fn send_together(socket: &UdpSocket, datagrams: &[IoSlice<'_>], length: u16) -> io::Result<usize> {
    let apart = [ControlMessage::UdpGsoSegments(&length)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), datagrams, &apart, MsgFlags::MSG_DONTWAIT, None);
    Ok(if or_none(sent)? == 0 { 0 } else { datagrams.len() })
}

/// Receives.
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

    /// Takes what is there, [`BATCH`] datagrams at most: each with the moment at which it came, since 1970, if the socket
    /// is [`timed`].
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

/// No room, nothing there, or nobody listening: UDP promises no more.
fn or_none(outcome: nix::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::EINTR | Errno::ENOBUFS) => Ok(0),
        outcome => outcome.map_err(io::Error::from),
    }
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
