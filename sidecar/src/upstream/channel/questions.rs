//! The questions of one shared socket: which ids were given, and who waits for which. Pure.
//!
//! | a datagram of the server | what becomes of it |
//! |---|---|
//! | with the id of a question under way | goes to that question, which judges it |
//! | with an id of earlier | late: the question was answered by another transmission, or nobody waits any more; ignored |
//! | with an id that was never given, about a question under way | goes to that question, for which it is a near miss ([`super::super::doubt`]); the socket gets no further questions |
//! | anything else | counted |
//!
//! An id is given once on a socket, so a late answer is never taken for that of another question, nor for a forged one.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::limits;
use crate::metrics::Unwanted;
use crate::upstream::question::is_same_question;
use crate::upstream::random;
use crate::wire::{HEADER_LENGTH, Message};

/// Those that were sent on one socket.
#[derive(Debug, Default)]
pub struct Questions {
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

/// What came for a question: a datagram that may answer it; or the kernel says that it did not arrive, because nobody listens there,
/// for example.
pub type Arrived = io::Result<Vec<u8>>;

/// What may wait to be judged for one question behind what came first, which is the true answer nearly always.
const MOST_WAITING: usize = 8;

impl Questions {
    /// Those of a socket over which the question with that id was answered.
    pub fn after(first: u16) -> Self {
        Self { ids: vec![first], waiting: vec![None], ..Self::default() }
    }

    /// An id for one more question; `None`: there are to be no more.
    pub fn next_id(&self) -> io::Result<Option<u16>> {
        if self.is_retired || self.ids.len() >= limits::UPSTREAM_SOCKET_QUESTIONS {
            return Ok(None);
        }
        loop {
            let id = random::id()?;
            if !self.ids.contains(&id) {
                return Ok(Some(id));
            }
        }
    }

    /// The question with that id was sent, as this message; its place.
    pub fn enter(&mut self, id: u16, sent: Vec<u8>) -> usize {
        self.ids.push(id);
        self.waiting.push(Some(Waiting { sent, waker: None, arrived: None, more: VecDeque::new() }));
        self.under_way += 1;
        self.ids.len() - 1
    }

    /// Nobody waits any more for what was asked at that time.
    ///
    /// A socket on which the server has been silent since an unanswered question was sent leads nowhere, perhaps: it gets no
    /// further ones.
    pub fn leave(&mut self, place: usize, asked_at: Instant, is_answered: bool) {
        if let Some(waiting) = self.waiting.get_mut(place) {
            *waiting = None;
        }
        self.under_way = self.under_way.saturating_sub(1);
        let is_silent = self.heard_at.is_none_or(|at| at < asked_at);
        self.is_retired |= !is_answered && is_silent;
    }

    /// There are to be no more.
    pub fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Whether there are to be no more.
    pub fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Whether nobody waits, and nobody will.
    pub fn is_over(&self) -> bool {
        self.is_retired && self.under_way == 0
    }

    /// Gives a datagram to the question that it is about; else what is wrong with it.
    pub fn sort(&mut self, datagram: &[u8], now: Instant) -> Result<(), Unwanted> {
        self.heard_at = Some(now);
        let message = Message::new(datagram).ok_or(Unwanted::Malformed)?;
        let place = if let Some(place) = self.place(message.id()) {
            place
        } else {
            let place = self.asking(message).ok_or(Unwanted::Id)?;
            self.is_retired = true;
            place
        };
        self.bring(place, Ok(datagram.to_vec()));
        Ok(())
    }

    /// The datagram of the question with that id did not arrive; of all, if none is named.
    pub fn not_arrived(&mut self, id: Option<u16>, kind: io::ErrorKind) {
        match id {
            Some(id) => {
                if let Some(place) = self.place(id) {
                    self.bring(place, Err(kind.into()));
                }
            }
            None => (0..self.waiting.len()).for_each(|place| self.bring(place, Err(kind.into()))),
        }
    }

    /// What has come for the question at that place.
    pub fn poll(&mut self, place: usize, context: &mut Context<'_>) -> Poll<Arrived> {
        let Some(Some(waiting)) = self.waiting.get_mut(place) else { return Poll::Pending };
        let next = waiting.more.pop_front();
        if let Some(arrived) = std::mem::replace(&mut waiting.arrived, next) {
            return Poll::Ready(arrived);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

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

/// Whether a message goes on, behind its header, with that question; names without regard to case.
fn is_begun_by(sent: &[u8], question: &[u8]) -> bool {
    sent.get(..question.len()).is_some_and(|sent| is_same_question(sent, question))
}
