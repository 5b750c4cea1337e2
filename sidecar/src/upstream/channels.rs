//! The sockets that are shared by the questions to a server that is asked often.
//!
//! A socket for each question costs more than all else about the question: a port, a connection, and the runtime told of it twice.
//!
//! | | a question goes on |
//! |---|---|
//! | none was sent to the server within [`limits::UPSTREAM_SOCKET_PAUSE`] | a new socket, as all did before |
//! | it is sent again because the server was silent | a new socket: another path through the load balancer, another port |
//! | the place among [`limits::UPSTREAM_SOCKETS`] that chance picks has a socket that lives | that socket |
//! | it has none | a new socket, which takes the place once it has been answered |
//!
//! So a socket is shared once an answer has come over it. Until then a NAT on the path does not know its flow, and of
//! two datagrams that pass it at the same instant the kernel's conntrack drops one.
//!
//! Each worker has sockets of its own, so that what arrives wakes the thread that waits for it.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podlocal_settings::value::Workers;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::asked::Asked;
use super::channel::{Channel, Ticket};
use super::random;
use super::udp::Buffer;
use crate::limits;
use crate::metrics::Metrics;

/// The shared sockets to every server.
#[derive(Debug)]
pub struct Channels {
    /// Those of each worker.
    workers: Vec<Mutex<Vec<Server>>>,
    buffer: Arc<Buffer>,
}

/// The shared sockets to one server.
#[derive(Debug, Default)]
struct Server {
    places: [Option<Arc<Channel>>; limits::UPSTREAM_SOCKETS],
    asked_at: Option<Instant>,
}

/// Where a question is sent.
#[derive(Debug)]
pub enum Place {
    /// On a shared socket; it was sent.
    Shared(Ticket),
    /// On a new one, which is to be shared at that place once it has been answered.
    New(Option<usize>),
}

impl Channels {
    /// None yet, to so many servers.
    pub fn new(servers: usize) -> Self {
        let none = || Mutex::new(std::iter::repeat_with(Server::default).take(servers).collect());
        let workers = std::iter::repeat_with(none).take(usize::from(Workers::MOST)).collect();
        Self { workers, buffer: Arc::default() }
    }

    /// Where datagrams are received.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Sends a question on a shared socket, if there is one for it.
    pub fn ask(&self, server: usize, asked: &mut Asked<'_>, now: Instant) -> io::Result<Place> {
        let mut servers = self.lock();
        let Some(server) = servers.get_mut(server) else { return Ok(Place::New(None)) };
        let is_busy = server.asked_at.replace(now).is_some_and(|at| now - at < limits::UPSTREAM_SOCKET_PAUSE);
        if asked.is_repeated() || !is_busy {
            return Ok(Place::New(None));
        }
        let index = usize::from(random::id()?) % limits::UPSTREAM_SOCKETS;
        let Some(place) = server.places.get_mut(index) else { return Ok(Place::New(None)) };
        if let Some(channel) = place {
            if let Some(ticket) = channel.ask(|id| asked.bytes_with_id(id), now)? {
                return Ok(Place::Shared(ticket));
            }
            channel.retire();
            *place = None;
        }
        Ok(Place::New(Some(index)))
    }

    /// Shares a socket over which the server has answered, unless another one has the place meanwhile.
    pub fn share(&self, server: usize, place: usize, socket: UdpSocket, metrics: &Metrics, now: Instant) {
        let mut servers = self.lock();
        if let Some(place @ None) = servers.get_mut(server).and_then(|server| server.places.get_mut(place)) {
            *place = Some(Channel::share(socket, &self.buffer, metrics, now));
        }
    }

    /// How many sockets are shared, and how many questions are under way on them.
    pub fn count(&self) -> usize {
        let of_worker = |servers: &Mutex<Vec<Server>>| {
            let servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.iter().map(|server| server.places.iter().flatten().count()).sum::<usize>()
        };
        self.workers.iter().map(of_worker).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Server>> {
        let index = thread_number() % self.workers.len();
        // A panic while it is held loses a socket at most.
        self.workers[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of this thread among those that have asked.
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}
