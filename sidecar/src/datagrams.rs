//! Datagrams in batches: one recvmmsg(2) for the queries in the receive buffer, one sendmmsg(2) for their
//! answers.
//!
//! Under load, seven eighths of the CPU of an answer are spent in the kernel, and a fifth of that on one
//! system call for each datagram. The buffers belong to the thread, not to a socket: a batch is received,
//! answered and sent without an await in between.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::limits;

/// The maximum size of a query. A longer one is cut off and therefore answered FORMERR. Padded queries have
/// 128 bytes or a multiple of that (RFC 8467 section 4.1).
const MAX_QUERY_BYTES: usize = 2048;

/// Twice the size that is used, so that the C library maps it separately (mallopt(3), `M_MMAP_THRESHOLD`),
/// and pages that no datagram has touched take no memory.
const RECEIVE_BYTES: usize = 2 * limits::BATCH * MAX_QUERY_BYTES;

/// The maximum size of a buffer that is kept for the next answer. A large answer is first written whole, then
/// truncated to the size that the client accepts.
const MAX_KEPT_BYTES: usize = 4096;

/// A UDP socket that receives queries and sends answers in batches.
#[derive(Debug)]
pub struct BatchSocket {
    socket: UdpSocket,
    is_ipv6: bool,
}

/// The result of a batch.
#[derive(Debug)]
pub struct Batch {
    /// Whether the batch was full, so that more datagrams may follow.
    pub is_full: bool,
    /// The answers for which the send buffer had no room; the caller sends them before the next batch.
    pub unsent: Vec<(Vec<u8>, SocketAddr)>,
}

impl BatchSocket {
    /// Must be called in a runtime; the socket must be non-blocking.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket: UdpSocket::from_std(socket)?, is_ipv6 })
    }

    /// Waits until a datagram has arrived; returns immediately if the last batch was full.
    pub async fn readable(&self) {
        if let Err(error) = self.socket.readable().await {
            // The runtime is shutting down.
            tracing::debug!(%error, "cannot wait for datagrams");
        }
    }

    /// Receives up to [`limits::BATCH`] datagrams. `answer` gets each one, and returns `true` if it has
    /// written an answer.
    pub fn receive_and_answer(
        &self,
        mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>) -> bool,
    ) -> io::Result<Batch> {
        BUFFERS.with_borrow_mut(|buffers| {
            buffers.send_queued();
            let Buffers { received, answers, headers: [ipv4, ipv6, sending], .. } = buffers;
            let headers = if self.is_ipv6 { ipv6 } else { ipv4 };
            let count = match received.receive(&self.socket, headers) {
                Ok(count) => count,
                // The port of the client of an earlier answer is closed: the client is gone.
                Err(Errno::ECONNREFUSED) => return Ok(Batch { is_full: true, unsent: Vec::new() }),
                Err(Errno::EAGAIN) => 0,
                Err(error) => return Err(error.into()),
            };
            if count < limits::BATCH {
                self.clear_readiness();
            }
            answers.count = 0; // after a panic there may be answers left
            for (bytes, client) in received.datagrams(count) {
                answers.push(|out| {
                    // A panic for one query must not affect the other queries of the batch.
                    let answered = catch_unwind(AssertUnwindSafe(|| answer(bytes, client, out)));
                    answered.unwrap_or(false).then_some(client)
                });
            }
            Ok(Batch { is_full: count == limits::BATCH, unsent: answers.send(&self.socket, sending) })
        })
    }

    /// Sends up to [`limits::BATCH`] answers. `next` writes each answer and returns its client; `None`: there
    /// are no more.
    pub fn send(&self, mut next: impl FnMut(&mut Vec<u8>) -> Option<SocketAddr>) -> Batch {
        BUFFERS.with_borrow_mut(|buffers| {
            buffers.send_queued();
            let Buffers { answers, headers: [_, _, sending], .. } = buffers;
            answers.count = 0;
            let is_full = (0..limits::BATCH).all(|_| answers.push(&mut next));
            Batch { is_full, unsent: answers.send(&self.socket, sending) }
        })
    }

    /// Queues an answer to the client that `write` returns. [`send_queued`] sends it, with others.
    pub fn queue(self: &Arc<Self>, write: impl FnOnce(&mut Vec<u8>) -> SocketAddr) {
        BUFFERS.with_borrow_mut(|buffers| {
            let is_other = buffers.queued_at.as_ref().is_some_and(|socket| !Arc::ptr_eq(socket, self));
            if is_other || buffers.answers.count == limits::BATCH {
                buffers.send_queued();
            }
            if buffers.queued_at.is_none() {
                buffers.answers.count = 0; // after a panic there may be answers left
                buffers.queued_at = Some(Arc::clone(self));
            }
            buffers.answers.push(|out| Some(write(out)));
        });
    }

    /// Sends the answers for which there was no room, as soon as there is room. The loopback always has room,
    /// because a datagram arrives there when it is sent.
    pub async fn send_unsent(&self, unsent: Vec<(Vec<u8>, SocketAddr)>) {
        for (answer, client) in unsent {
            if let Err(error) = self.socket.send_to(&answer, client).await {
                log_send_error(error, client);
            }
        }
    }

    /// The batch was not full, so the receive buffer is empty, and the next datagram wakes this task
    /// (epoll(7), "edge-triggered"). No datagram is lost in between: the runtime of a worker has one thread,
    /// which polls epoll after this.
    fn clear_readiness(&self) {
        let none = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::READABLE, none); // returns the same error
    }
}

/// Sends the answers that this thread has queued ([`BatchSocket::queue`]). The function that queues calls it before
/// the next await.
pub fn send_queued() {
    BUFFERS.with_borrow_mut(Buffers::send_queued);
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new());
}

/// The buffers that the sockets of a thread use in turn.
struct Buffers {
    received: Received,
    answers: Answers,
    /// The socket of the answers that are queued.
    queued_at: Option<Arc<BatchSocket>>,
    /// For receiving over IPv4, for receiving over IPv6, and for sending. Receiving needs two, because the
    /// kernel writes the length of the address, and reads it the next time as the maximum.
    headers: [MultiHeaders<SockaddrStorage>; 3],
}

impl Buffers {
    fn new() -> Self {
        Self {
            received: Received { bytes: vec![0; RECEIVE_BYTES], metadata: [(0, None); _] },
            answers: Answers { messages: [const { Vec::new() }; _], clients: [None; _], count: 0 },
            queued_at: None,
            headers: [(); 3].map(|()| MultiHeaders::preallocate(limits::BATCH, None)),
        }
    }
}

impl Buffers {
    fn send_queued(&mut self) {
        let Some(socket) = self.queued_at.take() else { return };
        let [_, _, headers] = &mut self.headers;
        let unsent = self.answers.send(&socket.socket, headers);
        if !unsent.is_empty() {
            tokio::spawn(async move { socket.send_unsent(unsent).await });
        }
    }
}

struct Received {
    bytes: Vec<u8>,
    /// The length and the sender of each datagram.
    metadata: [(usize, Option<SockaddrStorage>); limits::BATCH],
}

impl Received {
    fn receive(
        &mut self,
        socket: &UdpSocket,
        headers: &mut MultiHeaders<SockaddrStorage>,
    ) -> Result<usize, Errno> {
        let mut buffers = self.bytes.chunks_exact_mut(MAX_QUERY_BYTES);
        let mut slices: [_; limits::BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (place, message) in self.metadata.iter_mut().zip(messages) {
            *place = (message.bytes, message.address);
            count += 1;
        }
        Ok(count)
    }

    fn datagrams(&self, count: usize) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let buffers = self.bytes.chunks_exact(MAX_QUERY_BYTES).zip(&self.metadata).take(count);
        buffers.filter_map(|(buffer, (length, client))| {
            Some((buffer.get(..*length)?, address(client.as_ref()?)?))
        })
    }
}

struct Answers {
    messages: [Vec<u8>; limits::BATCH],
    clients: [Option<SockaddrStorage>; limits::BATCH],
    count: usize,
}

impl Answers {
    /// Adds the answer that `write` writes to the client that it returns; `false`: it has none.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<SocketAddr>) -> bool {
        let Some((message, place)) = self.messages.get_mut(self.count).zip(self.clients.get_mut(self.count))
        else {
            return false;
        };
        let Some(client) = write(message) else { return false };
        *place = Some(client.into());
        self.count += 1;
        true
    }

    /// Sends the added answers, and returns those for which there was no room. A client whose port is closed
    /// does not get its answer.
    fn send(
        &mut self,
        socket: &UdpSocket,
        headers: &mut MultiHeaders<SockaddrStorage>,
    ) -> Vec<(Vec<u8>, SocketAddr)> {
        let count = std::mem::take(&mut self.count);
        let unsent = Self::send_all(&self.messages[..count], &self.clients[..count], socket, headers);
        for message in self.messages.iter_mut().filter(|message| message.capacity() > MAX_KEPT_BYTES) {
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
                    // The error concerns the first message.
                    if let Some(client) = clients.first().and_then(|client| address(client.as_ref()?)) {
                        log_send_error(error, client);
                    }
                    sent += 1;
                }
            }
        }
        Vec::new()
    }
}

fn log_send_error(error: impl Display, client: SocketAddr) {
    tracing::debug!(%error, %client, "cannot send");
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

#[cfg(test)]
mod tests;
