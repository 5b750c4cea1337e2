//! The queries of one shared socket: which ids were used, and which query waits for which. Pure.
//!
//! | a datagram of the server | what happens to it |
//! |---|---|
//! | with the id of a query in flight | goes to that query, which checks it |
//! | with an id that was used before | is late: the query was answered by another transmission, or no task waits any more; it is ignored |
//! | with an id that was never used, for the question of a query in flight | goes to that query, for which it is a near miss ([`super::super::spoofing`]); the socket gets no further queries |
//! | anything else | is counted |
//!
//! Each id is used once on a socket, so a late answer is neither taken for the answer to another query nor
//! for a forged one.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::limits;
use crate::metrics::Unwanted;
use crate::upstream::query_message::is_same_question;
use crate::upstream::random;
use crate::wire::{HEADER_LENGTH, Message};

/// The queries that were sent on one socket.
#[derive(Debug, Default)]
pub struct InFlightQueries {
    /// The id of every query, in the order in which they were sent.
    ids: Vec<u16>,
    /// The same queries; `None` for those that are no longer in flight.
    waiting: Vec<Option<Waiting>>,
    in_flight: usize,
    is_retired: bool,
    /// When the server last sent a datagram.
    last_datagram_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    /// The message of the query.
    sent: Vec<u8>,
    waker: Option<Waker>,
    delivery: Option<Delivery>,
    /// Datagrams that arrived after it, before it was checked.
    pending: VecDeque<Delivery>,
}

/// What arrived for a query: a datagram that may answer it, or the kernel's report that the query was not
/// delivered, for example because no server listens there.
pub type Delivery = io::Result<Vec<u8>>;

/// The limit on datagrams that wait to be checked for one query, behind the first one, which is nearly always
/// the true answer.
const MAX_PENDING: usize = 8;

impl InFlightQueries {
    /// The state of a socket on which the query with that id was answered.
    pub fn after_first(first: u16) -> Self {
        Self { ids: vec![first], waiting: vec![None], ..Self::default() }
    }

    /// An id for one more query; `None`: the socket takes no further queries.
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

    /// Adds the query with that id and message; returns its index.
    pub fn insert(&mut self, id: u16, sent: Vec<u8>) -> usize {
        self.ids.push(id);
        self.waiting.push(Some(Waiting { sent, waker: None, delivery: None, pending: VecDeque::new() }));
        self.in_flight += 1;
        self.ids.len() - 1
    }

    /// Removes a query that was sent at that time. When the server has sent nothing since an unanswered query
    /// was sent, the path may be broken: the socket gets no further queries.
    pub fn remove(&mut self, index: usize, sent_at: Instant, is_answered: bool) {
        if let Some(waiting) = self.waiting.get_mut(index) {
            *waiting = None;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_silent = self.last_datagram_at.is_none_or(|at| at < sent_at);
        self.is_retired |= !is_answered && is_silent;
    }

    /// Lets the socket take no further queries.
    pub fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Whether the socket takes no further queries.
    pub fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Whether no query is in flight, and there will be none.
    pub fn is_over(&self) -> bool {
        self.is_retired && self.in_flight == 0
    }

    /// Assigns a datagram to its query; otherwise returns what is wrong with it.
    pub fn dispatch(&mut self, datagram: &[u8], now: Instant) -> Result<(), Unwanted> {
        self.last_datagram_at = Some(now);
        let message = Message::new(datagram).ok_or(Unwanted::Malformed)?;
        let index = if let Some(index) = self.index_by_id(message.id()) {
            index
        } else {
            let index = self.index_by_question(message).ok_or(Unwanted::Id)?;
            self.is_retired = true;
            index
        };
        self.deliver(index, Ok(datagram.to_vec()));
        Ok(())
    }

    /// Reports to the query with that id that it was not delivered; to all queries if there is no id.
    pub fn report_undelivered(&mut self, id: Option<u16>, kind: io::ErrorKind) {
        match id {
            Some(id) => {
                if let Some(index) = self.index_by_id(id) {
                    self.deliver(index, Err(kind.into()));
                }
            }
            None => (0..self.waiting.len()).for_each(|index| self.deliver(index, Err(kind.into()))),
        }
    }

    /// Polls for the next datagram or error of the query at that index.
    pub fn poll(&mut self, index: usize, context: &mut Context<'_>) -> Poll<Delivery> {
        let Some(Some(waiting)) = self.waiting.get_mut(index) else { return Poll::Pending };
        let next = waiting.pending.pop_front();
        if let Some(delivery) = std::mem::replace(&mut waiting.delivery, next) {
            return Poll::Ready(delivery);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn index_by_id(&self, id: u16) -> Option<usize> {
        self.ids.iter().position(|given| *given == id)
    }

    /// The index of the query in flight whose question a message contains.
    fn index_by_question(&self, message: Message<'_>) -> Option<usize> {
        let question = message.question()?;
        let is_same =
            |sent: &[u8]| sent.get(HEADER_LENGTH..).is_some_and(|sent| asks_question(sent, question));
        self.waiting.iter().position(|waiting| waiting.as_ref().is_some_and(|waiting| is_same(&waiting.sent)))
    }

    fn deliver(&mut self, index: usize, delivery: Delivery) {
        let Some(Some(waiting)) = self.waiting.get_mut(index) else { return };
        if waiting.delivery.is_none() {
            waiting.delivery = Some(delivery);
        } else if waiting.pending.len() < MAX_PENDING {
            waiting.pending.push_back(delivery);
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

/// Whether the bytes behind the header of a query begin with that question; names are compared without regard
/// to case.
fn asks_question(sent: &[u8], question: &[u8]) -> bool {
    sent.get(..question.len()).is_some_and(|sent| is_same_question(sent, question))
}
