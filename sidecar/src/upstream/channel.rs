//! A socket that many questions share, and the task that reads it. Which datagram is for which question: [`questions`].

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::udp::{self, ARRIVAL, Buffer, forget_readiness};
use crate::limits;
use crate::metrics::Metrics;
use crate::wire::Message;

use questions::{Arrived, Questions};

pub mod questions;

/// A connected socket, and the questions that were sent on it.
#[derive(Debug)]
pub struct Channel {
    socket: UdpSocket,
    questions: Mutex<Questions>,
    /// Tells the reader to look whether it is still needed.
    changed: Notify,
    expires: Instant,
}

/// How many bytes of a datagram that did not arrive are read: enough to know which one it was.
const QUOTED: usize = 512;

impl Channel {
    /// Shares a connected socket over which the server has answered the question with that id. Its reader ends when the socket
    /// has expired and nobody waits.
    pub fn share(
        socket: UdpSocket,
        first: u16,
        buffer: &Arc<Buffer>,
        metrics: &Metrics,
        now: Instant,
    ) -> Arc<Self> {
        // With this, the kernel says which datagram did not arrive (ip(7)); without, all that are under way are taken for lost.
        let is_ipv4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
        let told = if is_ipv4 {
            setsockopt(&socket, Ipv4RecvErr, &true)
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)
        };
        if let Err(error) = told {
            tracing::debug!(%error, "a shared socket does not say which datagrams do not arrive");
        }
        let channel = Arc::new(Self {
            socket,
            questions: Mutex::new(Questions::after(first)),
            changed: Notify::new(),
            expires: now + limits::UPSTREAM_SOCKET_LIFETIME,
        });
        let (read, buffer, metrics) = (Arc::clone(&channel), Arc::clone(buffer), metrics.clone());
        tokio::spawn(async move { read.read(&buffer, &metrics).await });
        channel
    }

    /// Sends the message that `write` makes with an id; `None`: the socket has had its time or its questions, or cannot send.
    pub fn ask(
        self: &Arc<Self>,
        write: impl FnOnce(u16) -> Vec<u8>,
        now: Instant,
    ) -> io::Result<Option<Ticket>> {
        let mut questions = self.lock();
        if now >= self.expires {
            return Ok(None);
        }
        let Some(id) = questions.next_id()? else { return Ok(None) };
        let sent = write(id);
        if let Err(error) = udp::send(&self.socket, &sent) {
            // What is under way is told by the reader; this question is sent on another socket.
            tracing::debug!(%error, "a shared socket cannot send");
            return Ok(None);
        }
        let place = questions.enter(id, sent);
        drop(questions);
        Ok(Some(Ticket { channel: Arc::clone(self), place, asked_at: now, is_answered: false }))
    }

    /// Takes no further questions; the socket is closed when nobody waits any more.
    pub fn retire(&self) {
        self.change(Questions::retire);
    }

    fn change(&self, change: impl FnOnce(&mut Questions)) {
        let mut questions = self.lock();
        change(&mut questions);
        let is_over = questions.is_over();
        drop(questions);
        if is_over {
            self.changed.notify_one();
        }
    }

    async fn read(&self, buffer: &Buffer, metrics: &Metrics) {
        while !self.lock().is_over() {
            tokio::select! {
                biased;
                ready = self.socket.ready(ARRIVAL) => {
                    let Ok(ready) = ready else { return }; // the runtime ends
                    if ready.is_error() {
                        self.report_undelivered();
                    }
                    self.receive(buffer, metrics);
                }
                () = self.changed.notified() => {}
                () = sleep_until(self.expires), if !self.lock().is_retired() => self.retire(),
            }
        }
    }

    /// Takes what is there, up to [`limits::BATCH`]: a flood must not keep others from their turn.
    fn receive(&self, buffer: &Buffer, metrics: &Metrics) {
        let now = Instant::now();
        let sort = |datagram: &[u8]| {
            if let Err(unwanted) = self.lock().sort(datagram, now) {
                metrics.unwanted_reply(unwanted);
            }
        };
        for _ in 0..limits::BATCH {
            let Err(error) = buffer.receive(&self.socket, sort) else { continue };
            if error.kind() == io::ErrorKind::WouldBlock {
                return forget_readiness(&self.socket);
            }
            if !self.report_undelivered() {
                self.lock().not_arrived(None, error.kind());
            }
        }
    }

    /// Tells the questions whose datagrams did not arrive, from the socket's error queue (recvmsg(2), `MSG_ERRQUEUE`). Whether
    /// there were any.
    fn report_undelivered(&self) -> bool {
        let mut are_there = false;
        let mut quoted = [0; QUOTED];
        for _ in 0..limits::BATCH {
            let mut slices = [io::IoSliceMut::new(&mut quoted)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, None, flags);
            let Ok(length) = read.map(|message| message.bytes) else { break };
            are_there = true;
            if let Some(message) = quoted.get(..length).and_then(Message::new) {
                self.lock().not_arrived(Some(message.id()), io::ErrorKind::ConnectionRefused);
            }
        }
        are_there
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        // A panic while it is held loses a question at most, which is sent again.
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way on a shared socket. When it is dropped, nobody waits for its answer any more.
#[derive(Debug)]
pub struct Ticket {
    channel: Arc<Channel>,
    place: usize,
    asked_at: Instant,
    is_answered: bool,
}

impl Ticket {
    /// Sends another message with the same id.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        udp::send(&self.channel.socket, bytes)
    }

    /// What comes for the question.
    pub async fn arrived(&mut self) -> Arrived {
        std::future::poll_fn(|context| self.channel.lock().poll(self.place, context)).await
    }

    /// The question has been answered.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Self { place, asked_at, is_answered, .. } = *self;
        self.channel.change(|questions| questions.leave(place, asked_at, is_answered));
    }
}

#[cfg(test)]
mod tests;
