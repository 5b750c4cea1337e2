//! The limit: a server that sends every datagram back, as much longer as an answer is longer than its question.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use crate::failure::{Failure, Tried};

/// An A record behind a pointer to the question's name.
const RECORD: usize = 16;

/// More than any question here has.
const LARGEST: usize = 512;

/// Datagrams that go together.
const BATCH: usize = 32;

/// Sends back what comes, for ever: one datagram at a time, in two system calls and nothing else.
pub fn serve(address: SocketAddr) -> Result<(), Failure> {
    let socket = open(address)?;
    let echoing = || "echoing".to_owned();
    let mut buffer = [0; LARGEST + RECORD];
    loop {
        let (length, client) = socket.recv_from(&mut buffer[..LARGEST]).tried(echoing)?;
        // Whose port is closed gets nothing.
        let _ = socket.send_to(&buffer[..length + RECORD], client);
    }
}

/// The same by the dozen: what a server could do that asks the kernel less often.
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
        for (message, client) in received.tried(echoing)?.zip(&mut clients) {
            *client = (message.bytes, message.address);
            count += 1;
        }
        let of = |index: usize| [IoSlice::new(&buffers[index][..clients[index].0 + RECORD])];
        let datagrams: [_; BATCH] = std::array::from_fn(of);
        let addresses = clients.map(|(_, client)| client);
        // Whose port is closed gets nothing.
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

/// It ends with the process that has started it.
fn open(address: SocketAddr) -> Result<UdpSocket, Failure> {
    set_pdeathsig(Signal::SIGKILL).tried(|| "asking to end together".to_owned())?;
    UdpSocket::bind(address).tried(|| format!("listening on {address}"))
}
