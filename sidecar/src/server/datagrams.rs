//! Datagrams by the batch: one recvmmsg(2) for those that wait, one sendmmsg(2) for their answers.
//!
//! Under load the kernel's part of an answer is seven eighths of its CPU, and a system call for each datagram a fifth of
//! that. The buffers belong to the thread, not to a socket: a batch is taken, answered and sent without an await between.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IoSlice, IoSliceMut};
use std::iter;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::limits;

/// The largest query that is read; what is longer is cut off and so gets FORMERR. Padded queries have 128 bytes, or a
/// multiple (RFC 8467 section 4.1).
const LARGEST_QUERY: usize = 2048;

/// Twice what is used, so that the C library takes it from the kernel as it is (mallopt(3), `M_MMAP_THRESHOLD`), and pages
/// that no datagram has touched take no memory.
const ROOM: usize = 2 * limits::BATCH * LARGEST_QUERY;

/// The largest buffer that is kept for the next answer; a large answer is written whole before it is cut to what its client
/// takes.
const LARGEST_KEPT: usize = 4096;

/// A socket that is served.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    is_ipv6: bool,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// Whether there may be more of it.
    pub(super) is_full: bool,
    /// What found no room; it is to be sent before there is more.
    pub(super) unsent: Vec<(Vec<u8>, SocketAddr)>,
}

impl Socket {
    /// Needs a runtime; the socket must be non-blocking.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket: UdpSocket::from_std(socket)?, is_ipv6 })
    }

    /// Waits until something has arrived, at once when the last batch was full.
    pub(super) async fn readable(&self) {
        if let Err(error) = self.socket.readable().await {
            // The runtime ends.
            tracing::debug!(%error, "cannot wait for datagrams");
        }
    }

    /// Takes what is there, up to [`limits::BATCH`]. `answer` gets each datagram, and writes what is to be sent back, if
    /// anything is: `true`.
    pub(super) fn answer(
        &self,
        mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>) -> bool,
    ) -> io::Result<Batch> {
        BUFFERS.with_borrow_mut(|buffers| {
            let Buffers { received, answers, headers: [ipv4, ipv6, sending] } = buffers;
            let headers = if self.is_ipv6 { ipv6 } else { ipv4 };
            let taken = match received.fill(&self.socket, headers) {
                Ok(taken) => taken,
                // An earlier answer met a closed port; the client is gone, and that is its business.
                Err(Errno::ECONNREFUSED) => return Ok(Batch { is_full: true, unsent: Vec::new() }),
                Err(Errno::EAGAIN) => 0,
                Err(error) => return Err(error.into()),
            };
            if taken < limits::BATCH {
                self.forget_readiness();
            }
            answers.count = 0; // what a panic left behind
            for (bytes, client) in received.datagrams(taken) {
                answers.push(client, |client, out| {
                    // The defect of one query must not take the others of its batch along.
                    catch_unwind(AssertUnwindSafe(|| answer(bytes, client, out))).unwrap_or(false)
                });
            }
            Ok(Batch { is_full: taken == limits::BATCH, unsent: answers.send(&self.socket, sending) })
        })
    }

    /// Sends up to [`limits::BATCH`] answers. `next` writes each and says whom it is for, or that there are no more.
    pub(super) fn send(&self, mut next: impl FnMut(&mut Vec<u8>) -> Option<SocketAddr>) -> Batch {
        BUFFERS.with_borrow_mut(|Buffers { answers, headers: [_, _, sending], .. }| {
            answers.count = 0;
            let is_full = iter::repeat_with(|| answers.push_next(&mut next))
                .take(limits::BATCH)
                .all(|is_pushed| is_pushed);
            Batch { is_full, unsent: answers.send(&self.socket, sending) }
        })
    }

    /// Sends what found no room when there is some. The loopback has room always: what is sent there has arrived.
    pub(super) async fn send_late(&self, unsent: Vec<(Vec<u8>, SocketAddr)>) {
        for (answer, client) in unsent {
            if let Err(error) = self.socket.send_to(&answer, client).await {
                not_sent(error, client);
            }
        }
    }

    /// Fewer came than were asked for, so there are no more: the next one wakes us (epoll(7), "edge-triggered"). Nothing is lost
    /// between, because a worker's runtime has one thread: it looks at epoll after this.
    fn forget_readiness(&self) {
        let none = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::READABLE, none); // the same error
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new());
}

/// What the sockets of a thread take turns with.
struct Buffers {
    received: Received,
    answers: Answers,
    /// To receive over IPv4, over IPv6 (the kernel notes how long an address was, and reads that as how long it may be
    /// the next time), and to send.
    headers: [MultiHeaders<SockaddrStorage>; 3],
}

impl Buffers {
    fn new() -> Self {
        Self {
            received: Received { bytes: vec![0; ROOM], places: [(0, None); _] },
            answers: Answers { messages: [const { Vec::new() }; _], clients: [None; _], count: 0 },
            headers: [(); 3].map(|()| MultiHeaders::preallocate(limits::BATCH, None)),
        }
    }
}

struct Received {
    bytes: Vec<u8>,
    /// The length and the sender of each.
    places: [(usize, Option<SockaddrStorage>); limits::BATCH],
}

impl Received {
    fn fill(
        &mut self,
        socket: &UdpSocket,
        headers: &mut MultiHeaders<SockaddrStorage>,
    ) -> Result<usize, Errno> {
        let mut buffers = self.bytes.chunks_exact_mut(LARGEST_QUERY);
        let mut slices: [_; limits::BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        let mut taken = 0;
        for (place, message) in self.places.iter_mut().zip(messages) {
            *place = (message.bytes, message.address);
            taken += 1;
        }
        Ok(taken)
    }

    fn datagrams(&self, taken: usize) -> impl Iterator<Item = (&[u8], &SockaddrStorage)> {
        let buffers = self.bytes.chunks_exact(LARGEST_QUERY).zip(&self.places).take(taken);
        buffers.filter_map(|(buffer, (length, client))| Some((buffer.get(..*length)?, client.as_ref()?)))
    }
}

struct Answers {
    messages: [Vec<u8>; limits::BATCH],
    clients: [Option<SockaddrStorage>; limits::BATCH],
    count: usize,
}

impl Answers {
    /// Adds what `write` writes to the client, if it does.
    fn push(&mut self, client: &SockaddrStorage, write: impl FnOnce(SocketAddr, &mut Vec<u8>) -> bool) {
        let place = self.messages.get_mut(self.count).zip(self.clients.get_mut(self.count));
        let Some(((message, place), address)) = place.zip(address(client)) else { return };
        if write(address, message) {
            *place = Some(*client);
            self.count += 1;
        }
    }

    /// The same where whoever writes knows the client.
    fn push_next(&mut self, next: impl FnOnce(&mut Vec<u8>) -> Option<SocketAddr>) -> bool {
        let Some((message, place)) = self.messages.get_mut(self.count).zip(self.clients.get_mut(self.count))
        else {
            return false;
        };
        let Some(client) = next(message) else { return false };
        *place = Some(client.into());
        self.count += 1;
        true
    }

    /// Sends what was added, and returns what found no room. A client whose port is closed does not get its answer: UDP
    /// promises no more.
    fn send(
        &mut self,
        socket: &UdpSocket,
        headers: &mut MultiHeaders<SockaddrStorage>,
    ) -> Vec<(Vec<u8>, SocketAddr)> {
        let count = std::mem::take(&mut self.count);
        let unsent = Self::send_all(&self.messages[..count], &self.clients[..count], socket, headers);
        for message in self.messages.iter_mut().filter(|message| message.capacity() > LARGEST_KEPT) {
            *message = Vec::new();
        }
        unsent
    }

    fn send_all(
        messages: &[Vec<u8>],
        clients: &[Option<SockaddrStorage>],
        socket: &UdpSocket,
        headers: &mut MultiHeaders<SockaddrStorage>,
    ) -> Vec<(Vec<u8>, SocketAddr)> {
        const NO_CONTROL: [ControlMessage<'_>; 0] = [];
        let mut sent = 0;
        while sent < messages.len() {
            let (messages, clients) = (&messages[sent..], &clients[sent..]);
            let mut left = messages.iter();
            let slices: [_; limits::BATCH] =
                std::array::from_fn(|_| [IoSlice::new(left.next().map_or(&[], Vec::as_slice))]);
            match sendmmsg(socket.as_raw_fd(), headers, &slices, clients, NO_CONTROL, MsgFlags::MSG_DONTWAIT)
            {
                Ok(accepted) => sent += accepted.count(),
                Err(Errno::EAGAIN) => {
                    let unsent = messages.iter().zip(clients);
                    return unsent
                        .filter_map(|(message, client)| Some((message.clone(), address(client.as_ref()?)?)))
                        .collect();
                }
                Err(error) => {
                    // It is about the first of them.
                    if let Some(client) = clients.first().and_then(|client| address(client.as_ref()?)) {
                        not_sent(error, client);
                    }
                    sent += 1;
                }
            }
        }
        Vec::new()
    }
}

fn not_sent(error: impl Display, client: SocketAddr) {
    tracing::debug!(%error, %client, "cannot send");
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

#[cfg(test)]
mod tests;
