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
use std::fmt::Debug;
use std::io;
use std::task::{Context, Poll, Waker};

use podlocal_dns::wire::Message;
use tokio::time::Instant;

use super::Ticket;
use crate::limits;
use crate::metrics::Unwanted;
use crate::upstream::query_message::{is_response, is_same_question};
use crate::upstream::random;

/// The queries that were sent on one socket.
#[derive(Debug, Default)]
pub struct InFlightQueries {
    /// The id of every query, and its index, sorted by id.
    ids: Vec<(u16, u16)>,
    /// The queries in the order in which they were sent; `None` for those that are no longer in flight.
    receivers: Vec<Option<Receiver>>,
    in_flight: usize,
    is_retired: bool,
    next_check: Option<Instant>,
    /// When the server last sent a datagram.
    last_datagram_at: Option<Instant>,
}

/// What receives the datagrams for a query.
#[derive(Debug)]
enum Receiver {
    /// A task, which is woken.
    Task(Box<TaskReceiver>),
    /// The reader of the socket itself.
    Direct(Box<dyn DirectReceiver>),
}

#[derive(Debug)]
struct TaskReceiver {
    question: Box<[u8]>,
    waker: Option<Waker>,
    /// The deliveries that were not polled yet, in order.
    arrived: VecDeque<Delivery>,
}

/// A query without a task: the reader of the socket gives it the answer.
pub trait DirectReceiver: Debug + Send {
    /// The question, on the wire.
    fn question(&self) -> &[u8];

    /// When the query was sent.
    fn sent_at(&self) -> Instant;

    /// Receives a datagram. When it is anything but a good answer, the query is returned, and nothing has
    /// been recorded: a task must check the datagram.
    fn receive(self: Box<Self>, datagram: &mut [u8], now: Instant) -> Result<(), Box<dyn DirectReceiver>>;

    /// When to check again whether something is due that only a task can do, such as a retransmission;
    /// `None`: it is due now.
    fn next_check(&mut self, now: Instant) -> Option<Instant>;

    /// Lets a task do the rest. The datagrams for the query arrive through the ticket.
    fn continue_in_task(self: Box<Self>, ticket: Ticket);
}

/// The recipient of a datagram.
#[derive(Debug)]
pub enum Dispatched {
    /// It was given to the task of its query.
    ToTask,
    /// It is for the query at that index, which has no task. The caller has to give it back
    /// ([`InFlightQueries::give_to_task`]) or to remove it.
    ToDirect(usize, Box<dyn DirectReceiver>),
    /// It would answer that query, but for a wrong id. The caller has to give the query to a task.
    NearMissOfDirect(usize, Box<dyn DirectReceiver>),
}

/// What arrived for a query.
#[derive(Debug)]
pub enum Delivery {
    /// A datagram with its id, which may answer it.
    Datagram(Vec<u8>),
    /// So many datagrams in a row that would answer it, but for a wrong id. They are counted and not kept: a
    /// flood of them takes no memory, and each of them counts.
    NearMisses(u32),
    /// The query was not delivered, for example because no server listens there.
    Undelivered(io::ErrorKind),
}

/// The limit on datagrams with the right id that wait to be checked for one query. The first one is nearly
/// always the true answer.
const MAX_ARRIVED: usize = 8;

impl InFlightQueries {
    /// An id for one more query; `None`: the socket takes no further queries.
    pub fn next_id(&self) -> io::Result<Option<u16>> {
        if self.is_retired || self.ids.len() >= limits::UPSTREAM_SOCKET_QUESTIONS {
            return Ok(None);
        }
        loop {
            let id = random::id()?;
            if self.place_of(id).is_err() {
                return Ok(Some(id));
            }
        }
    }

    /// Adds the query with that id; returns its index. It has no receiver yet.
    pub fn insert(&mut self, id: u16) -> usize {
        let index = self.receivers.len();
        let (Ok(place) | Err(place)) = self.place_of(id);
        self.ids.insert(place, (id, index as u16));
        self.receivers.push(None);
        self.in_flight += 1;
        index
    }

    /// Gives the datagrams for the query at that index to a task, which polls for them; first of all what has
    /// arrived already.
    pub fn give_to_task(&mut self, index: usize, question: &[u8], arrived: Option<Delivery>) {
        let arrived = arrived.into_iter().collect();
        let task = TaskReceiver { question: question.into(), waker: None, arrived };
        self.set_receiver(index, Receiver::Task(Box::new(task)));
    }

    /// Gives the datagrams for the query at that index to the query itself.
    pub fn give_to(&mut self, index: usize, direct: Box<dyn DirectReceiver>) {
        self.set_receiver(index, Receiver::Direct(direct));
    }

    fn set_receiver(&mut self, index: usize, receiver: Receiver) {
        if let Some(place) = self.receivers.get_mut(index) {
            *place = Some(receiver);
        }
    }

    /// Removes a query that was sent at that time. When the server has sent nothing since an unanswered query
    /// was sent, the path may be broken: the socket gets no further queries.
    pub fn remove(&mut self, index: usize, sent_at: Instant, is_answered: bool) {
        if let Some(place) = self.receivers.get_mut(index) {
            *place = None;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_silent = self.last_datagram_at.is_none_or(|at| at < sent_at);
        self.is_retired |= !is_answered && is_silent;
    }

    /// Lets the socket take further queries.
    pub fn accept_more(&mut self) {
        self.is_retired = false;
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
    pub fn dispatch(&mut self, datagram: &[u8], now: Instant) -> Result<Dispatched, Unwanted> {
        self.last_datagram_at = Some(now);
        let message = Message::new(datagram).ok_or(Unwanted::Malformed)?;
        if let Some(index) = self.index_by_id(message.id()) {
            if let Some(direct) = self.take_direct(index) {
                return Ok(Dispatched::ToDirect(index, direct));
            }
            self.deliver(index, Delivery::Datagram(datagram.to_vec()));
            return Ok(Dispatched::ToTask);
        }
        if !is_response(message) {
            return Err(Unwanted::Malformed);
        }
        let index = self.index_by_question(message).ok_or(Unwanted::Id)?;
        self.is_retired = true;
        if let Some(direct) = self.take_direct(index) {
            return Ok(Dispatched::NearMissOfDirect(index, direct));
        }
        self.deliver(index, Delivery::NearMisses(1));
        Ok(Dispatched::ToTask)
    }

    /// Reports to the query with that id that it was not delivered; to all queries if there is no id. Returns
    /// those without a task.
    pub fn report_undelivered(
        &mut self,
        id: Option<u16>,
        kind: io::ErrorKind,
    ) -> Vec<(usize, Box<dyn DirectReceiver>)> {
        let concerned = match id {
            Some(id) => self.index_by_id(id).map_or(0..0, |index| index..index + 1),
            None => 0..self.receivers.len(),
        };
        let mut directs = Vec::new();
        for index in concerned {
            match self.take_direct(index) {
                Some(direct) => directs.push((index, direct)),
                None => self.deliver(index, Delivery::Undelivered(kind)),
            }
        }
        directs
    }

    /// Takes out the queries for which a task must do something now.
    pub fn take_due(&mut self, now: Instant) -> Vec<(usize, Box<dyn DirectReceiver>)> {
        let mut earliest: Option<Instant> = None;
        let mut is_due = |receiver: &mut Receiver| {
            let Receiver::Direct(direct) = receiver else { return false };
            let next = direct.next_check(now);
            earliest = earliest.into_iter().chain(next).min();
            next.is_none()
        };
        let places = self.receivers.iter_mut().enumerate();
        let due = places.filter_map(|(index, place)| match place.take_if(&mut is_due)? {
            Receiver::Direct(direct) => Some((index, direct)),
            Receiver::Task(_) => None,
        });
        let due = due.collect();
        self.next_check = earliest;
        due
    }

    /// When [`InFlightQueries::take_due`] may find another one, as of its last call; `None`: never.
    pub fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    fn take_direct(&mut self, index: usize) -> Option<Box<dyn DirectReceiver>> {
        let place = self.receivers.get_mut(index)?;
        match place.take_if(|receiver| matches!(receiver, Receiver::Direct(_)))? {
            Receiver::Direct(direct) => Some(direct),
            Receiver::Task(_) => None,
        }
    }

    /// Polls for what arrives next for the query at that index.
    pub fn poll(&mut self, index: usize, context: &mut Context<'_>) -> Poll<Delivery> {
        let Some(task) = self.task(index) else { return Poll::Pending };
        if let Some(delivery) = task.arrived.pop_front() {
            return Poll::Ready(delivery);
        }
        task.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn task(&mut self, index: usize) -> Option<&mut TaskReceiver> {
        match self.receivers.get_mut(index)? {
            Some(Receiver::Task(task)) => Some(task),
            _ => None,
        }
    }

    fn index_by_id(&self, id: u16) -> Option<usize> {
        let (_, index) = self.ids.get(self.place_of(id).ok()?)?;
        Some(usize::from(*index))
    }

    /// The place of an id among all; `Err`: where it would be.
    fn place_of(&self, id: u16) -> Result<usize, usize> {
        self.ids.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// The index of the query in flight whose question a message contains.
    fn index_by_question(&self, message: Message<'_>) -> Option<usize> {
        let question = message.question()?;
        if message.question_count() != 1 {
            return None;
        }
        self.receivers.iter().position(|receiver| match receiver {
            Some(Receiver::Task(task)) => is_same_question(&task.question, question),
            Some(Receiver::Direct(direct)) => is_same_question(direct.question(), question),
            None => false,
        })
    }

    fn deliver(&mut self, index: usize, delivery: Delivery) {
        let Some(task) = self.task(index) else { return };
        let has_room = task.datagrams() < MAX_ARRIVED;
        match (task.arrived.back_mut(), delivery) {
            (Some(Delivery::NearMisses(count)), Delivery::NearMisses(more)) => {
                *count = count.saturating_add(more);
            }
            // Near misses in a row are one entry, so these are limited, too.
            (_, delivery @ Delivery::NearMisses(_)) => task.arrived.push_back(delivery),
            (_, delivery) if has_room => task.arrived.push_back(delivery),
            _ => {}
        }
        if let Some(waker) = task.waker.take() {
            waker.wake();
        }
    }
}

impl TaskReceiver {
    fn datagrams(&self) -> usize {
        self.arrived.iter().filter(|delivery| !matches!(delivery, Delivery::NearMisses(_))).count()
    }
}
