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

use podlocal_dns::upstream::Recovery;
use podlocal_dns::wire::Message;
use tokio::time::Instant;

use super::ticket::Ticket;
use crate::limits;
use crate::metrics::Unwanted;
use crate::upstream::outgoing::Arrival;
use crate::upstream::query_message::{is_response, is_same_question};
use crate::upstream::random;

/// The queries that were sent on one socket.
#[derive(Debug, Default)]
pub struct InFlightQueries {
    /// The id of every query, and its index, sorted by id.
    ids: Vec<(u16, u16)>,
    /// The queries in the order in which they were sent.
    sent: Vec<SentQuery>,
    in_flight: usize,
    /// Whether the socket takes no further queries.
    pub is_retired: bool,
    /// When the server last sent a datagram.
    last_datagram_at: Option<Instant>,
}

#[derive(Debug)]
struct SentQuery {
    sent_at: Instant,
    /// What receives its datagrams; `None` when it is no longer in flight.
    receiver: Option<Receiver>,
}

impl SentQuery {
    fn take_direct(&mut self) -> Option<Box<dyn DirectReceiver>> {
        match self.receiver.take_if(|receiver| matches!(receiver, Receiver::Direct(_)))? {
            Receiver::Direct(direct) => Some(direct),
            Receiver::Task(_) => None,
        }
    }
}

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

    /// Receives a datagram. When it is anything but a good answer, the query is returned, and nothing has
    /// been recorded: a task must check the datagram.
    fn receive(self: Box<Self>, datagram: &mut [u8], now: Instant) -> Result<(), Box<dyn DirectReceiver>>;

    /// When to check again whether something is due that only a task can do, such as a retransmission;
    /// `None`: it is due now. Each recovery of a server is passed once.
    fn next_check(&mut self, recovery: Option<Recovery>, now: Instant) -> Option<Instant>;

    /// Lets a task do the rest. The datagrams for the query arrive through the ticket.
    fn continue_in_task(self: Box<Self>, ticket: Ticket);
}

/// A query without a task that needs one: its index, the query, and what has arrived for it.
pub type Handover = (usize, Box<dyn DirectReceiver>, Option<Delivery>);

/// The recipient of a datagram.
#[derive(Debug)]
pub enum Dispatched {
    /// It was given to the task of its query.
    ToTask,
    /// It is for the query at that index, which has no task. The caller has to give the query to a task
    /// ([`InFlightQueries::give_to_task`]) or to remove it.
    ToDirect(usize, Box<dyn DirectReceiver>),
    /// It is for a query that needs a task now.
    NeedsTask(Handover),
}

/// What arrived for a query; an error: it was not delivered, for example because no server listens there.
pub type Delivery = io::Result<Arrival>;

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

    /// Adds a query that was sent with that id; returns its index. It has no receiver yet.
    pub fn insert(&mut self, id: u16, sent_at: Instant) -> usize {
        let index = self.sent.len();
        let (Ok(place) | Err(place)) = self.place_of(id);
        self.ids.insert(place, (id, index as u16));
        self.sent.push(SentQuery { sent_at, receiver: None });
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

    /// Gives the datagrams for a query to the query itself.
    pub fn give_to(&mut self, index: usize, direct: Box<dyn DirectReceiver>) {
        self.set_receiver(index, Receiver::Direct(direct));
    }

    fn set_receiver(&mut self, index: usize, receiver: Receiver) {
        if let Some(sent) = self.sent.get_mut(index) {
            sent.receiver = Some(receiver);
        }
    }

    /// Removes a query. When the server has sent nothing since an unanswered query was sent, the path may be
    /// broken: the socket gets no further queries.
    pub fn remove(&mut self, index: usize, is_answered: bool) {
        let Some(sent) = self.sent.get_mut(index) else { return };
        sent.receiver = None;
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_silent = self.last_datagram_at.is_none_or(|at| at < sent.sent_at);
        self.is_retired |= !is_answered && is_silent;
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
            let delivered = self.deliver(index, Ok(Arrival::Message(datagram.to_vec())));
            return Ok(delivered.map_or(Dispatched::ToTask, Dispatched::NeedsTask));
        }
        if !is_response(message) {
            return Err(Unwanted::Malformed);
        }
        let index = self.index_by_question(message).ok_or(Unwanted::Id)?;
        self.is_retired = true;
        let delivered = self.deliver(index, Ok(Arrival::NearMisses(1)));
        Ok(delivered.map_or(Dispatched::ToTask, Dispatched::NeedsTask))
    }

    /// Reports to the query with that id that it was not delivered; to all queries if there is no id. Returns
    /// those that need a task now.
    pub fn report_undelivered(&mut self, id: Option<u16>, kind: io::ErrorKind) -> Vec<Handover> {
        let concerned = match id {
            Some(id) => self.index_by_id(id).map_or(0..0, |index| index..index + 1),
            None => 0..self.sent.len(),
        };
        concerned.filter_map(|index| self.deliver(index, Err(kind.into()))).collect()
    }

    /// Takes out the queries for which a task must do something now. Returns them, and when there may be
    /// another one.
    pub fn take_due(&mut self, recovery: Option<Recovery>, now: Instant) -> (Vec<Handover>, Option<Instant>) {
        let (mut due, mut earliest) = (Vec::new(), None);
        for (index, sent) in self.sent.iter_mut().enumerate() {
            let Some(Receiver::Direct(direct)) = &mut sent.receiver else { continue };
            match direct.next_check(recovery, now) {
                Some(next) => earliest = earliest.into_iter().chain([next]).min(),
                None => due.extend(sent.take_direct().map(|direct| (index, direct, None))),
            }
        }
        (due, earliest)
    }

    fn take_direct(&mut self, index: usize) -> Option<Box<dyn DirectReceiver>> {
        self.sent.get_mut(index)?.take_direct()
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
        match self.sent.get_mut(index)?.receiver.as_mut()? {
            Receiver::Task(task) => Some(task),
            Receiver::Direct(_) => None,
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
        self.sent.iter().position(|sent| match &sent.receiver {
            Some(Receiver::Task(task)) => is_same_question(&task.question, question),
            Some(Receiver::Direct(direct)) => is_same_question(direct.question(), question),
            None => false,
        })
    }

    /// Gives that to the task of a query; returns a query without a task, and that with it.
    fn deliver(&mut self, index: usize, delivery: Delivery) -> Option<Handover> {
        if let Some(direct) = self.take_direct(index) {
            return Some((index, direct, Some(delivery)));
        }
        let task = self.task(index)?;
        let is_near_miss = |delivery: &&Delivery| matches!(delivery, Ok(Arrival::NearMisses(_)));
        let kept = task.arrived.len() - task.arrived.iter().filter(is_near_miss).count();
        match (task.arrived.back_mut(), delivery) {
            (Some(Ok(Arrival::NearMisses(count))), Ok(Arrival::NearMisses(more))) => {
                *count = count.saturating_add(more);
            }
            // Near misses in a row are one entry, so these are limited, too.
            (_, delivery) if is_near_miss(&&delivery) || kept < MAX_ARRIVED => {
                task.arrived.push_back(delivery);
            }
            _ => {}
        }
        if let Some(waker) = task.waker.take() {
            waker.wake();
        }
        None
    }
}
