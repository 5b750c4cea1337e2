//! The upper limit: a server that sends every datagram back, made longer by the size of one record.

use std::net::{SocketAddr, UdpSocket};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use podlocal_harness::failure::{Failure, WithContext};

/// The size of an A record whose owner is a pointer to the question's name, in bytes.
const RECORD: usize = 16;

/// The size of the receive buffer in bytes, larger than any query here.
const LARGEST: usize = 512;

/// Echoes datagrams until the process is killed: one at a time, with only two system calls for each.
pub fn serve(address: SocketAddr) -> Result<(), Failure> {
    // This process ends together with its parent.
    set_pdeathsig(Signal::SIGKILL).with_context("setting the signal for the end of the parent")?;
    let socket = UdpSocket::bind(address).with_context(|| format!("listening on {address}"))?;
    let mut buffer = [0; LARGEST + RECORD];
    loop {
        let (length, client) = socket.recv_from(&mut buffer[..LARGEST]).with_context("echoing")?;
        // A client whose port is closed gets no answer.
        let _ = socket.send_to(&buffer[..length + RECORD], client);
    }
}
