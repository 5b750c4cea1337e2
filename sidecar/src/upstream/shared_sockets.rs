//! The sockets that queries share to a server that is queried often.
//!
//! A socket for each query costs more than everything else about the query: a port, a connection, and two
//! registrations with the runtime.
//!
//! | situation | the query is sent on |
//! |---|---|
//! | no query was sent to the server within [`limits::UPSTREAM_SOCKET_PAUSE`] | a new socket |
//! | the query is a retransmission to a silent server | a new socket: another path through the load balancer, another port |
//! | the randomly chosen slot among [`limits::UPSTREAM_SOCKETS`] has a live socket | that socket |
//! | the slot is empty | a new socket, which takes the slot once a query on it was answered, unless a near miss arrived on it ([`super::spoofing`]) |
//!
//! So a socket is shared only after an answer has arrived on it. Before that, a NAT on the path has no entry
//! for its flow, and of two datagrams that pass the NAT at the same instant the kernel's conntrack drops one.
//!
//! Each worker has sockets of its own, so that a datagram wakes the thread that waits for it.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use podlocal_settings::value::Workers;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::outgoing::OutgoingQuery;
use super::random;
use super::shared_socket::{SharedSocket, Ticket};
use super::udp::Buffer;
use crate::limits;
use crate::metrics::Metrics;

/// The shared sockets to all servers.
#[derive(Debug)]
pub struct SharedSockets {
    /// The sockets of each worker.
    workers: Vec<Mutex<Vec<ServerSockets>>>,
    buffer: Arc<Buffer>,
    metrics: Metrics,
}

/// The shared sockets to one server.
#[derive(Debug, Default)]
struct ServerSockets {
    /// Weak: a socket lives until it has expired and no query is in flight.
    slots: [Weak<SharedSocket>; limits::UPSTREAM_SOCKETS],
    last_query_at: Option<Instant>,
}

/// The socket for a query.
#[derive(Debug)]
pub enum SocketChoice {
    /// A shared socket; the query was sent.
    Shared(Ticket),
    /// A new socket, to be shared in that slot once a query on it was answered.
    New(Option<u8>),
}

impl SharedSockets {
    /// No sockets yet, to so many servers.
    pub fn new(servers: usize, metrics: &Metrics) -> Self {
        let no_sockets =
            || Mutex::new(std::iter::repeat_with(ServerSockets::default).take(servers).collect());
        let workers = std::iter::repeat_with(no_sockets).take(usize::from(Workers::MAX)).collect();
        Self { workers, buffer: Arc::default(), metrics: metrics.clone() }
    }

    /// The buffer into which datagrams are received.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Chooses the socket for a query, and sends the query if it is a shared one.
    pub fn ask(
        &self,
        server: usize,
        query: &mut OutgoingQuery<'_>,
        now: Instant,
    ) -> io::Result<SocketChoice> {
        let mut servers = self.lock();
        let Some(server) = servers.get_mut(server) else { return Ok(SocketChoice::New(None)) };
        let is_busy =
            server.last_query_at.replace(now).is_some_and(|at| now - at < limits::UPSTREAM_SOCKET_PAUSE);
        if query.is_repeated() || !is_busy {
            return Ok(SocketChoice::New(None));
        }
        let index = random::id()? as u8 % limits::UPSTREAM_SOCKETS as u8;
        let Some(slot) = server.slots.get_mut(usize::from(index)) else { return Ok(SocketChoice::New(None)) };
        if let Some(shared) = slot.upgrade() {
            if let Some(ticket) = shared.ask(|id| query.bytes_with_id(id), now)? {
                return Ok(SocketChoice::Shared(ticket));
            }
            shared.retire();
            *slot = Weak::new();
        }
        Ok(SocketChoice::New(Some(index)))
    }

    /// Shares a socket on which the server has answered the query with that id, unless another socket has
    /// taken the slot meanwhile.
    pub fn share(&self, server: usize, slot: u8, socket: UdpSocket, id: u16, now: Instant) {
        let mut servers = self.lock();
        let slot = servers.get_mut(server).and_then(|server| server.slots.get_mut(usize::from(slot)));
        if let Some(slot) = slot.filter(|slot| slot.strong_count() == 0) {
            *slot = Arc::downgrade(&SharedSocket::share(socket, id, &self.buffer, &self.metrics, now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ServerSockets>> {
        let index = thread_number() % self.workers.len();
        // A panic under the lock loses a socket at most.
        self.workers[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of this thread among those that have sent queries.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Key;
    use crate::upstream::loop_detection::LoopMarker;
    use crate::upstream::path::NetworkPath;
    use crate::upstream::query_message::QueryMessage;
    use crate::upstream::spoofing::NearMissAction;
    use crate::upstream::udp;
    use crate::wire::{self, Flags, Message};
    use std::collections::{HashMap, HashSet};
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

    #[tokio::test]
    async fn a_busy_server_is_queried_from_many_ports_with_unique_ids() {
        const WAVES: usize = 60;
        const AT_A_TIME: usize = 50;
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        let served = tokio::spawn(serve(server, WAVES * AT_A_TIME));
        let (metrics, path) = (Metrics::new().0, Arc::new(Mutex::default()));
        let shared_sockets = Arc::new(SharedSockets::new(1, &metrics));
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
                    let mut query = OutgoingQuery::new(question, &path, &metrics, number == 0);
                    udp::exchange(0, &address, &mut query, &shared_sockets).await
                });
            }
            let answers = asking.join_all().await;
            assert!(answers.iter().all(|answer| matches!(answer, Ok(Some(_)))));
        }
        let ids = served.await.expect("served");
        for (port, ids) in &ids {
            let different: HashSet<_> = ids.iter().collect();
            assert_eq!(different.len(), ids.len(), "port {port}");
            assert!(ids.len() <= limits::UPSTREAM_SOCKET_QUESTIONS, "port {port}: {}", ids.len());
        }
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
        let shared_sockets = SharedSockets::new(1, &metrics);
        for (number, is_shared) in [(0, false), (1, true)] {
            shared_sockets.lock()[0].last_query_at = Some(Instant::now());
            let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
            let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
            let mut query = OutgoingQuery::new(question, &path, &metrics, false);
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
            let (response, ()) =
                tokio::join!(udp::exchange(0, &address, &mut query, &shared_sockets), answer);
            assert!(response.expect("answered").is_some());
            let shared = shared_sockets.lock()[0].slots.iter().filter(|slot| slot.strong_count() > 0).count();
            assert_eq!(shared, usize::from(is_shared), "question {number}");
        }
    }
}
