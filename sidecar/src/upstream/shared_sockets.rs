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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use podlocal_settings::value::Workers;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::random;
use super::shared_socket::{Place, Sent, SharedSocket};
use crate::limits;
use crate::metrics::Metrics;

/// The shared sockets to all servers.
#[derive(Debug)]
pub struct SharedSockets {
    slots: Arc<Slots>,
    recovered: Arc<Notify>,
    metrics: Arc<Metrics>,
}

/// The slots of each worker, by server.
#[derive(Debug)]
struct Slots(Vec<Mutex<Vec<ServerSockets>>>);

/// The shared sockets to one server.
#[derive(Debug, Default)]
struct ServerSockets {
    /// Weak: a socket lives until it has expired and no query is in flight.
    slots: [Weak<SharedSocket>; limits::UPSTREAM_SOCKETS],
    last_query_at: Option<Instant>,
    /// The slot that was drawn last, and for how many more queries.
    drawn: usize,
    left: usize,
}

/// A slot for a new socket.
#[derive(Debug)]
struct SlotPlace {
    slots: Arc<Slots>,
    worker: usize,
    server: usize,
    slot: usize,
}

impl Place for SlotPlace {
    fn take(&self, socket: &Arc<SharedSocket>) -> bool {
        let mut servers = self.slots.lock(self.worker);
        let slot = servers.get_mut(self.server).and_then(|server| server.slots.get_mut(self.slot));
        let Some(slot) = slot.filter(|slot| slot.strong_count() == 0) else { return false };
        *slot = Arc::downgrade(socket);
        true
    }
}

impl SharedSockets {
    /// No sockets yet, to so many servers. `recovered` is notified when a server that was silent has answered.
    pub fn new(servers: usize, recovered: &Arc<Notify>, metrics: &Metrics) -> Self {
        let no_sockets =
            || Mutex::new(std::iter::repeat_with(ServerSockets::default).take(servers).collect());
        let workers = std::iter::repeat_with(no_sockets).take(usize::from(Workers::MAX)).collect();
        Self {
            slots: Arc::new(Slots(workers)),
            recovered: Arc::clone(recovered),
            metrics: Arc::new(metrics.clone()),
        }
    }

    /// Sends a query whose message `write` makes with an id, on a socket by the table above.
    pub fn send(
        &self,
        server: usize,
        address: SocketAddr,
        is_repeated: bool,
        mut write: impl FnMut(u16, &mut Vec<u8>),
        now: Instant,
    ) -> io::Result<(Arc<SharedSocket>, Sent)> {
        let mut place = None;
        if let Some(slot) = self.slot(server, is_repeated, now)? {
            let worker = worker_number(&self.slots);
            let shared = self.slots.shared(worker, server, slot);
            if let Some(shared) = shared {
                if let Some(sent) = shared.send(&mut write, now)? {
                    return Ok((shared, sent));
                }
                shared.retire();
                self.slots.clear(worker, server, slot);
            }
            place = Some(self.place(worker, server, slot));
        }
        SharedSocket::open(address, place, write, &self.recovered, &self.metrics, now)
    }

    fn place(&self, worker: usize, server: usize, slot: usize) -> Box<dyn Place> {
        Box::new(SlotPlace { slots: Arc::clone(&self.slots), worker, server, slot })
    }

    /// The slot for a query; `None`: a socket of its own. A slot is drawn for several queries: their answers
    /// are then received, and passed on, with few system calls.
    fn slot(&self, server: usize, is_repeated: bool, now: Instant) -> io::Result<Option<usize>> {
        let mut servers = self.slots.lock(worker_number(&self.slots));
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
        Ok(Some(server.drawn))
    }
}

impl Slots {
    fn shared(&self, worker: usize, server: usize, slot: usize) -> Option<Arc<SharedSocket>> {
        self.lock(worker).get(server)?.slots.get(slot)?.upgrade()
    }

    fn clear(&self, worker: usize, server: usize, slot: usize) {
        if let Some(slot) = self.lock(worker).get_mut(server).and_then(|server| server.slots.get_mut(slot)) {
            *slot = Weak::new();
        }
    }

    fn lock(&self, worker: usize) -> MutexGuard<'_, Vec<ServerSockets>> {
        // A panic under the lock loses a socket at most.
        self.0[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of this thread among those that have sent queries, within the number of workers.
fn worker_number(slots: &Slots) -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let number = NUMBER.get().unwrap_or_else(|| {
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    });
    number % slots.0.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::loop_detection::LoopMarker;
    use crate::upstream::outgoing::OutgoingQuery;
    use crate::upstream::path::NetworkPath;
    use crate::upstream::query_message::QueryMessage;
    use crate::upstream::spoofing::NearMissAction;
    use crate::upstream::udp;
    use podlocal_dns::key::Key;
    use podlocal_dns::wire::{self, Flags, Message};
    use std::collections::{HashMap, HashSet};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

    /// Answers so many queries; returns the ids by port.
    async fn serve(server: UdpSocket, count: usize) -> HashMap<u16, Vec<u16>> {
        let mut ids: HashMap<u16, Vec<u16>> = HashMap::new();
        let mut buffer = [0; 512];
        for _ in 0..count {
            let (length, from) = server.recv_from(&mut buffer).await.expect("receives");
            let message = &mut buffer[..length];
            ids.entry(from.port()).or_default().push(Message::new(message).expect("a message").id());
            wire::set_flag(message, Flags::QR);
            server.send_to(message, from).await.expect("sends");
        }
        ids
    }

    async fn exchange(
        shared_sockets: &SharedSockets,
        server: SocketAddr,
        query: &mut OutgoingQuery<'_>,
    ) -> io::Result<Option<Vec<u8>>> {
        let (is_repeated, now) = (query.is_repeated(), Instant::now());
        let (shared, sent) =
            shared_sockets.send(0, server, is_repeated, |id, out| query.write_with_id(id, out), now)?;
        let ticket = shared.ticket(sent, query.question(), now);
        drop(shared);
        udp::response(ticket, query).await
    }

    #[tokio::test]
    async fn a_busy_server_is_queried_from_many_ports_with_unique_ids() {
        const WAVES: usize = 60;
        const AT_A_TIME: usize = 50;
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        let served = tokio::spawn(serve(server, WAVES * AT_A_TIME));
        let (metrics, path) = (Metrics::new().0, Arc::new(Mutex::default()));
        let shared_sockets = Arc::new(SharedSockets::new(1, &Arc::default(), &metrics));
        for wave in 0..WAVES {
            let mut asking = JoinSet::new();
            for number in 0..AT_A_TIME {
                let (shared_sockets, path, metrics) =
                    (Arc::clone(&shared_sockets), Arc::clone(&path), metrics.clone());
                asking.spawn(async move {
                    let name = format!("n{}.example", wave * AT_A_TIME + number);
                    let name = wire::name_from_text(&name).expect("a name");
                    let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
                    let question =
                        QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
                    let mut query =
                        OutgoingQuery::new(question, &path, &metrics, number == 0, Instant::now());
                    exchange(&shared_sockets, address, &mut query).await
                });
            }
            let answers = asking.join_all().await;
            assert!(answers.iter().all(|answer| matches!(answer, Ok(Some(_)))));
        }
        let ids = served.await.expect("served");
        for (port, ids) in &ids {
            let different: HashSet<_> = ids.iter().collect();
            assert_eq!(different.len(), ids.len(), "port {port}");
        }
        // The kernel may give a new socket the port of a closed one: one of some 100 ports among 28,000.
        let crowded = ids.values().filter(|ids| ids.len() > limits::UPSTREAM_SOCKET_QUESTIONS).count();
        assert!(crowded <= 2, "{crowded} ports with more questions than a socket may send");
        let shared = ids.values().filter(|ids| ids.len() > 1).count();
        let new = ids.values().filter(|ids| ids.len() == 1).count();
        assert!(shared >= WAVES * AT_A_TIME / limits::UPSTREAM_SOCKET_QUESTIONS, "{shared} shared sockets");
        assert!(new >= WAVES, "a retransmission goes on a new socket: {new}");
        let all: HashSet<_> = ids.values().flatten().collect();
        // 3,000 draws of 65,536 leave about 2,932 different ones, give or take 8.
        assert!(all.len() > 2_860, "{} different ids", all.len());
    }

    #[tokio::test]
    async fn a_socket_that_received_a_near_miss_is_not_shared() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        let (metrics, path) = (Metrics::new().0, Mutex::<NetworkPath>::default());
        // Uses up the fallbacks to TCP.
        while let NearMissAction::RetryOverTcp =
            path.lock().expect("not poisoned").tcp_fallbacks.on_near_miss(1)
        {}
        let shared_sockets = SharedSockets::new(1, &Arc::default(), &metrics);
        for (number, is_shared) in [(0, false), (1, true)] {
            shared_sockets.slots.lock(worker_number(&shared_sockets.slots))[0].last_query_at =
                Some(Instant::now());
            let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
            let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
            let mut query = OutgoingQuery::new(question, &path, &metrics, false, Instant::now());
            let answer = async {
                let mut buffer = [0; 512];
                let (length, from) = server.recv_from(&mut buffer).await.expect("receives");
                let message = &mut buffer[..length];
                wire::set_flag(message, Flags::QR);
                let id = Message::new(message).expect("a message").id();
                if number == 0 {
                    wire::put_header(message, id ^ 1, Flags(Flags::QR));
                    server.send_to(message, from).await.expect("sends");
                    wire::put_header(message, id, Flags(Flags::QR));
                }
                server.send_to(message, from).await.expect("sends");
            };
            let (response, ()) = tokio::join!(exchange(&shared_sockets, address, &mut query), answer);
            assert!(response.expect("answered").is_some());
            let shared = shared_sockets.slots.lock(worker_number(&shared_sockets.slots))[0]
                .slots
                .iter()
                .filter(|slot| slot.strong_count() > 0)
                .count();
            assert_eq!(shared, usize::from(is_shared), "question {number}");
        }
    }
}
