//! The upper limit: a server that sends every datagram back, made longer by the size of one record.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use podlocal_harness::failure::{Failure, WithContext};

/// The size of an A record whose owner is a pointer to the question's name, in bytes.
const RECORD: usize = 16;

/// The size of the receive buffer in bytes, larger than any query here.
const LARGEST: usize = 512;

/// The number of datagrams in a batch.
const BATCH: usize = 32;

/// Echoes datagrams until the process is killed: one at a time, with only two system calls for each.
pub fn serve(address: SocketAddr) -> Result<(), Failure> {
    let socket = open(address)?;
    let echoing = || "echoing".to_owned();
    let mut buffer = [0; LARGEST + RECORD];
    loop {
        let (length, client) = socket.recv_from(&mut buffer[..LARGEST]).with_context(echoing)?;
        // A client whose port is closed gets no answer.
        let _ = socket.send_to(&buffer[..length + RECORD], client);
    }
}

/// Echoes datagrams in batches: the limit for a server with fewer system calls.
pub fn serve_in_batches(address: SocketAddr) -> Result<(), Failure> {
    const NO_OPTIONS: [ControlMessage<'_>; 0] = [];
    let socket = open(address)?;
    let echoing = || "echoing".to_owned();
    let mut buffers = vec![[0_u8; LARGEST + RECORD]; BATCH];
    let (mut headers, mut answers) =
        (MultiHeaders::<SockaddrIn>::preallocate(BATCH, None), MultiHeaders::preallocate(BATCH, None));
    let mut clients = [(0, None::<SockaddrIn>); BATCH];
    loop {
        let mut slices: Vec<_> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(&mut buffer[..LARGEST])]).collect();
        let received =
            recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_WAITFORONE, None);
        let mut count = 0;
        for (message, client) in received.with_context(echoing)?.zip(&mut clients) {
            *client = (message.bytes, message.address);
            count += 1;
        }
        let of = |index: usize| [IoSlice::new(&buffers[index][..clients[index].0 + RECORD])];
        let datagrams: [_; BATCH] = std::array::from_fn(of);
        let addresses = clients.map(|(_, client)| client);
        // A client whose port is closed gets no answer.
        let _ = sendmmsg(
            socket.as_raw_fd(),
            &mut answers,
            &datagrams[..count],
            addresses,
            NO_OPTIONS,
            MsgFlags::empty(),
        );
    }
}

/// Opens the socket. This process ends together with its parent.
fn open(address: SocketAddr) -> Result<UdpSocket, Failure> {
    set_pdeathsig(Signal::SIGKILL)
        .with_context(|| "setting the signal for the end of the parent".to_owned())?;
    UdpSocket::bind(address).with_context(|| format!("listening on {address}"))
}
