//! The sockets that are shared by the questions to a server that is asked often.
//!
//! A socket for each question costs more than all else about the question: a port, a connection, and the
//! runtime told of it twice.
//!
//! | | a question goes on |
//! |---|---|
//! | none was sent to the server within [`limits::UPSTREAM_SOCKET_PAUSE`] | a new socket, as all did before |
//! | it is sent again because the server was silent | a new socket: another path through the load balancer, another port |
//! | the place among [`limits::UPSTREAM_SOCKETS`] that chance picks has a socket that lives | that socket |
//! | it has none | a new socket, which takes the place once it has been answered, unless a near miss came to it ([`super::doubt`]) |
//!
//! So a socket is shared once an answer has come over it. Until then a NAT on the path does not know its
//! flow, and of two datagrams that pass it at the same instant the kernel's conntrack drops one.
//!
//! Each worker has sockets of its own, so that what arrives wakes the thread that waits for it.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    metrics: Metrics,
}

/// The shared sockets to one server.
#[derive(Debug, Default)]
struct Server {
    /// Not held here: a socket lives until it has expired and nobody waits any more.
    places: [Weak<Channel>; limits::UPSTREAM_SOCKETS],
    asked_at: Option<Instant>,
}

/// Where a question is sent.
#[derive(Debug)]
pub enum Place {
    /// On a shared socket; it was sent.
    Shared(Ticket),
    /// On a new one, which is to be shared at that place once it has been answered.
    New(Option<u8>),
}

impl Channels {
    /// None yet, to so many servers.
    pub fn new(servers: usize, metrics: &Metrics) -> Self {
        let none = || Mutex::new(std::iter::repeat_with(Server::default).take(servers).collect());
        let workers = std::iter::repeat_with(none).take(usize::from(Workers::MAX)).collect();
        Self { workers, buffer: Arc::default(), metrics: metrics.clone() }
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
        let index = random::id()? as u8 % limits::UPSTREAM_SOCKETS as u8;
        let Some(place) = server.places.get_mut(usize::from(index)) else { return Ok(Place::New(None)) };
        if let Some(channel) = place.upgrade() {
            if let Some(ticket) = channel.ask(|id| asked.bytes_with_id(id), now)? {
                return Ok(Place::Shared(ticket));
            }
            channel.retire();
            *place = Weak::new();
        }
        Ok(Place::New(Some(index)))
    }

    /// Shares a socket over which the server has answered the question with that id, unless another one has
    /// the place meanwhile.
    pub fn share(&self, server: usize, place: u8, socket: UdpSocket, id: u16, now: Instant) {
        let mut servers = self.lock();
        let place = servers.get_mut(server).and_then(|server| server.places.get_mut(usize::from(place)));
        if let Some(place) = place.filter(|place| place.strong_count() == 0) {
            *place = Arc::downgrade(&Channel::share(socket, id, &self.buffer, &self.metrics, now));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Key;
    use crate::upstream::doubt::Doubt;
    use crate::upstream::path::Path;
    use crate::upstream::question::Question;
    use crate::upstream::token::Token;
    use crate::upstream::udp;
    use crate::wire::{self, Flags, Message};
    use std::collections::{HashMap, HashSet};
    use tokio::task::JoinSet;

    /// Answers that many questions; says which ids came from which port, and that no id came twice from one.
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
    async fn a_busy_server_is_asked_from_many_ports_each_for_so_many_questions_with_ids_of_its_own() {
        const WAVES: usize = 60;
        const AT_A_TIME: usize = 50;
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        let served = tokio::spawn(serve(server, WAVES * AT_A_TIME));
        let (metrics, path) = (Metrics::new().0, Arc::new(Mutex::default()));
        let channels = Arc::new(Channels::new(1, &metrics));
        for wave in 0..WAVES {
            let mut asking = JoinSet::new();
            for number in 0..AT_A_TIME {
                let (channels, path, metrics) = (Arc::clone(&channels), Arc::clone(&path), metrics.clone());
                asking.spawn(async move {
                    let name = format!("n{}.example", wave * AT_A_TIME + number);
                    let name = wire::name_from_text(&name).expect("a name");
                    let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
                    let question = Question::new(&key, Token::new().expect("random")).expect("random");
                    let mut asked = Asked::new(question, &path, &metrics, number == 0);
                    udp::exchange(0, &address, &mut asked, &channels).await
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
        assert!(new >= WAVES, "what is sent again goes on a new socket: {new}");
        let all: HashSet<_> = ids.values().flatten().collect();
        // 3,000 draws of 65,536 leave about 2,932 different ones, give or take 8.
        assert!(all.len() > 2_860, "{} different ids", all.len());
    }

    #[tokio::test]
    async fn a_socket_whose_port_somebody_knows_is_not_shared() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        let (metrics, path) = (Metrics::new().0, Mutex::<Path>::default());
        // No question goes over to TCP any more.
        while let Doubt::Tcp = path.lock().expect("not poisoned").doubts.missed(1) {}
        let channels = Channels::new(1, &metrics);
        for (number, is_shared) in [(0, false), (1, true)] {
            channels.lock()[0].asked_at = Some(Instant::now());
            let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
            let question = Question::new(&key, Token::new().expect("random")).expect("random");
            let mut asked = Asked::new(question, &path, &metrics, false);
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
            let (response, ()) = tokio::join!(udp::exchange(0, &address, &mut asked, &channels), answer);
            assert!(response.expect("answered").is_some());
            let shared = channels.lock()[0].places.iter().filter(|place| place.strong_count() > 0).count();
            assert_eq!(shared, usize::from(is_shared), "question {number}");
        }
    }
}
