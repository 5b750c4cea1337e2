//! A socket that many questions share: which ids were given on it, and who waits for which.
//!
//! | a datagram of the server | what becomes of it |
//! |---|---|
//! | with the id of a question under way | goes to that question, which judges it |
//! | with an id of earlier | late: the question was answered by another transmission, or nobody waits any more; ignored |
//! | with an id that was never given, about a question under way | goes to that question, for which it is a near miss ([`super::doubt`]); the socket gets no further questions |
//! | anything else | counted |
//!
//! An id is given once on a socket, so a late answer is never taken for that of another question, nor for a forged one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::question::is_same_question;
use super::random;
use super::udp::{self, ARRIVAL, Buffer, forget_readiness};
use crate::limits;
use crate::metrics::{Metrics, Unwanted};
use crate::wire::{HEADER_LENGTH, Message};

/// A connected socket, and the questions that were sent on it.
#[derive(Debug)]
pub struct Channel {
    socket: UdpSocket,
    questions: Mutex<Questions>,
    /// Tells the reader to look whether it is still needed.
    changed: Notify,
    expires: Instant,
}

#[derive(Debug, Default)]
struct Questions {
    /// Of every question, in the order in which they were sent.
    ids: Vec<u16>,
    /// The same questions.
    waiting: Vec<Option<Waiting>>,
    under_way: usize,
    is_retired: bool,
    /// When the server last sent something.
    heard_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    /// The message that asks.
    sent: Vec<u8>,
    waker: Option<Waker>,
    arrived: Option<Arrived>,
    /// What came behind it, before it was judged.
    more: VecDeque<Arrived>,
}

/// What came for a question: a datagram that may answer it; or the kernel says that it cannot arrive, because nobody listens there,
/// for example.
type Arrived = io::Result<Vec<u8>>;

/// What may wait to be judged for one question behind what came first, which is the true answer nearly always.
const MOST_WAITING: usize = 8;

/// How many bytes of a datagram that did not arrive are read: enough to know which one it was.
const QUOTED: usize = 512;

impl Channel {
    /// Shares a connected socket over which the server has answered the question with that id. Its reader ends when the socket has expired and nobody waits.
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
            questions: Mutex::new(Questions {
                ids: vec![first],
                waiting: vec![None],
                ..Questions::default()
            }),
            changed: Notify::new(),
            expires: now + limits::UPSTREAM_SOCKET_LIFETIME,
        });
        let (read, buffer, metrics) = (Arc::clone(&channel), Arc::clone(buffer), metrics.clone());
        tokio::spawn(async move { read.read(&buffer, &metrics).await });
        channel
    }

    /// Sends the message that `write` makes with that id; `None`: the socket has had its time or its questions, or cannot send.
    pub fn ask(
        self: &Arc<Self>,
        write: impl FnOnce(u16) -> Vec<u8>,
        now: Instant,
    ) -> io::Result<Option<Ticket>> {
        let mut questions = self.lock();
        if questions.is_retired
            || now >= self.expires
            || questions.ids.len() >= limits::UPSTREAM_SOCKET_QUESTIONS
        {
            return Ok(None);
        }
        let id = loop {
            let id = random::id()?;
            if !questions.ids.contains(&id) {
                break id;
            }
        };
        let sent = write(id);
        if let Err(error) = udp::send(&self.socket, &sent) {
            // What is under way is told by the reader; this question is sent on another socket.
            tracing::debug!(%error, "a shared socket cannot send");
            questions.is_retired = true;
            return Ok(None);
        }
        let place = questions.ids.len();
        questions.ids.push(id);
        questions.waiting.push(Some(Waiting { sent, waker: None, arrived: None, more: VecDeque::new() }));
        questions.under_way += 1;
        drop(questions);
        Ok(Some(Ticket { channel: Arc::clone(self), place, asked_at: now, is_answered: false }))
    }

    /// Takes no further questions; the socket is closed when nobody waits any more.
    pub fn retire(&self) {
        let mut questions = self.lock();
        questions.is_retired = true;
        let is_over = questions.under_way == 0;
        drop(questions);
        if is_over {
            self.changed.notify_one();
        }
    }

    async fn read(&self, buffer: &Buffer, metrics: &Metrics) {
        while !self.is_over() {
            tokio::select! {
                biased;
                ready = self.socket.ready(ARRIVAL) => {
                    if ready.is_err() {
                        return; // the runtime ends
                    }
                    self.receive(buffer, metrics);
                }
                () = self.changed.notified() => {}
                () = sleep_until(self.expires), if Instant::now() < self.expires => self.retire(),
            }
        }
    }

    fn is_over(&self) -> bool {
        let questions = self.lock();
        questions.is_retired && questions.under_way == 0
    }

    /// Takes all that is there.
    fn receive(&self, buffer: &Buffer, metrics: &Metrics) {
        let now = Instant::now();
        loop {
            match buffer.receive(&self.socket, |datagram| self.sort(datagram, metrics, now)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return forget_readiness(&self.socket);
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    fn sort(&self, datagram: &[u8], metrics: &Metrics, now: Instant) {
        let mut questions = self.lock();
        questions.heard_at = Some(now);
        let Some(message) = Message::new(datagram) else {
            return metrics.unwanted_reply(Unwanted::Malformed);
        };
        let place = match questions.place(message.id()) {
            Some(place) => place,
            None => match questions.asking(message) {
                Some(place) => {
                    questions.is_retired = true;
                    place
                }
                None => return metrics.unwanted_reply(Unwanted::Id),
            },
        };
        questions.bring(place, Ok(datagram.to_vec()));
    }

    /// The kernel cannot bring something to the server: the questions that it names, or all.
    fn failed(&self, error: &io::Error) {
        let mut questions = self.lock();
        let mut are_named = false;
        while let Some(id) = self.undelivered() {
            are_named = true;
            if let Some(place) = questions.place(id) {
                questions.bring(place, Err(error.kind().into()));
            }
        }
        if !are_named {
            (0..questions.waiting.len()).for_each(|place| questions.bring(place, Err(error.kind().into())));
        }
    }

    /// The id of a question that did not arrive, from the socket's error queue (recvmsg(2), `MSG_ERRQUEUE`).
    fn undelivered(&self) -> Option<u16> {
        let mut quoted = [0; QUOTED];
        let mut slices = [io::IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let length =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, None, flags).ok()?.bytes;
        Message::new(quoted.get(..length)?).map(Message::id)
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        // A panic while it is held loses a question at most, which is sent again.
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Questions {
    fn place(&self, id: u16) -> Option<usize> {
        self.ids.iter().position(|given| *given == id)
    }

    /// The question under way that a message is about.
    fn asking(&self, message: Message<'_>) -> Option<usize> {
        let question = message.question()?;
        let is_same = |sent: &[u8]| sent.get(HEADER_LENGTH..).is_some_and(|sent| is_begun_by(sent, question));
        self.waiting.iter().position(|waiting| waiting.as_ref().is_some_and(|waiting| is_same(&waiting.sent)))
    }

    fn bring(&mut self, place: usize, what: Arrived) {
        let Some(Some(waiting)) = self.waiting.get_mut(place) else { return };
        if waiting.arrived.is_none() {
            waiting.arrived = Some(what);
        } else if waiting.more.len() < MOST_WAITING {
            waiting.more.push_back(what);
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
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
        std::future::poll_fn(|context| {
            let mut questions = self.channel.lock();
            let Some(Some(waiting)) = questions.waiting.get_mut(self.place) else { return Poll::Pending };
            let next = waiting.more.pop_front();
            if let Some(arrived) = std::mem::replace(&mut waiting.arrived, next) {
                return Poll::Ready(arrived);
            }
            waiting.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The question has been answered.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Ticket {
    /// A socket on which the server has been silent since an unanswered question was sent leads nowhere, perhaps: it gets no further ones.
    fn drop(&mut self) {
        let mut questions = self.channel.lock();
        if let Some(waiting) = questions.waiting.get_mut(self.place) {
            *waiting = None;
        }
        questions.under_way -= 1;
        let is_silent = questions.heard_at.is_none_or(|at| at < self.asked_at);
        questions.is_retired |= !self.is_answered && is_silent;
        let is_over = questions.is_retired && questions.under_way == 0;
        drop(questions);
        if is_over {
            self.channel.changed.notify_one();
        }
    }
}

/// Whether a message goes on, behind its header, with that question; names without regard to case.
fn is_begun_by(sent: &[u8], question: &[u8]) -> bool {
    sent.get(..question.len()).is_some_and(|sent| is_same_question(sent, question))
}

#[cfg(test)]
mod tests;
