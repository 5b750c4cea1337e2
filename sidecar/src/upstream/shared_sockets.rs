//! The sockets that queries share to a server that is queried often.
//!
//! A socket for each query costs more than everything else about the query: a port, a connection, and two
//! registrations with the runtime.
//!
//! | situation | the query is sent on |
//! |---|---|
//! | no query was sent to the server within [`limits::UPSTREAM_SOCKET_PAUSE`] | a new socket |
//! | the query is a retransmission to a silent server | a new socket: another path through the load balancer, another port |
//! | the slot among [`limits::UPSTREAM_SOCKETS`] that is drawn for some queries in a row has a live socket | that socket |
//! | the slot is empty | a new socket, which takes the slot once a query on it was answered, unless a near miss arrived on it ([`super::spoofing`]) |
//!
//! So a socket is shared only after an answer has arrived on it. Before that, a NAT on the path has no entry
//! for its flow, and of two datagrams that pass the NAT at the same instant the kernel's conntrack drops one.
//!
//! Each worker has sockets of its own, so that a datagram wakes the thread that waits for it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use podlocal_dns::upstream::Recovery;
use podlocal_settings::value::Workers;
use tokio::sync::watch;
use tokio::time::Instant;

use super::random;
use super::shared_socket::{SharedSocket, Slot};
use crate::limits;
use crate::metrics::Metrics;
use crate::supervise::lock;

/// The shared sockets to all servers.
#[derive(Debug)]
pub struct SharedSockets {
    /// By worker, and by server.
    workers: Vec<Mutex<Vec<ServerSockets>>>,
    recovered: watch::Sender<Option<Recovery>>,
    metrics: Arc<Metrics>,
}

/// The shared sockets to one server.
#[derive(Debug, Default)]
struct ServerSockets {
    slots: [Option<Arc<Slot>>; limits::UPSTREAM_SOCKETS],
    last_query_at: Option<Instant>,
    /// The slot that was drawn last, and for how many more queries.
    drawn: usize,
    left: usize,
}

impl SharedSockets {
    /// No sockets yet, to so many servers. `recovered` sends the recoveries of servers that were silent.
    pub fn new(servers: usize, recovered: watch::Sender<Option<Recovery>>, metrics: &Metrics) -> Self {
        let no_sockets =
            || Mutex::new(std::iter::repeat_with(ServerSockets::default).take(servers).collect());
        let workers = std::iter::repeat_with(no_sockets).take(usize::from(Workers::MAX)).collect();
        Self { workers, recovered, metrics: Arc::new(metrics.clone()) }
    }

    /// Sends a query whose message `write` makes with an id, on a socket by the table above. Returns the
    /// socket, and the index of the query on it.
    pub fn send(
        &self,
        server: usize,
        address: SocketAddr,
        is_repeated: bool,
        mut write: impl FnMut(u16, &mut Vec<u8>),
        now: Instant,
    ) -> io::Result<(Arc<SharedSocket>, usize)> {
        let slot = self.slot(server, is_repeated, now)?;
        if let Some(slot) = &slot {
            let shared = lock(slot).upgrade();
            if let Some(shared) = shared {
                if let Some(index) = shared.send(&mut write, now)? {
                    return Ok((shared, index));
                }
                shared.retire();
                *lock(slot) = Weak::new();
            }
        }
        SharedSocket::open(address, slot, write, self.recovered.subscribe(), &self.metrics, now)
    }

    /// The slot for a query; `None`: a socket of its own. A slot is drawn for several queries: their answers
    /// are then received, and passed on, with few system calls.
    fn slot(&self, server: usize, is_repeated: bool, now: Instant) -> io::Result<Option<Arc<Slot>>> {
        let Some(worker) = self.workers.get(worker_number() % self.workers.len()) else { return Ok(None) };
        let mut servers = lock(worker);
        let Some(server) = servers.get_mut(server) else { return Ok(None) };
        let is_busy =
            server.last_query_at.replace(now).is_some_and(|at| now - at < limits::UPSTREAM_SOCKET_PAUSE);
        if is_repeated || !is_busy {
            return Ok(None);
        }
        if server.left == 0 {
            server.left = limits::UPSTREAM_SOCKET_TURN;
            server.drawn = usize::from(random::id()?) % limits::UPSTREAM_SOCKETS;
        }
        server.left -= 1;
        let slot = server.slots.get_mut(server.drawn);
        Ok(slot.map(|slot| Arc::clone(slot.get_or_insert_default())))
    }
}

/// The number of this thread among those that have sent queries.
fn worker_number() -> usize {
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
