//! Serves the world over UDP and TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::answer::{answer, truncate};
use super::capacity::{Capacity, ServiceQueue};
use super::counts::Counts;
use super::world::World;
use crate::failure::{Failure, WithContext};
use crate::framing::{self, Transport, bind};

/// The largest answer over UDP to a client without EDNS, in bytes (RFC 1035 section 4.2.1); the smallest
/// limit.
const SMALLEST_UDP_LIMIT: u16 = 512;

/// The receive buffer for datagrams, in bytes.
const RECEIVE_BUFFER: usize = 8 << 20;

/// The time-out of an idle TCP connection: CoreDNS's default.
const IDLE: Duration = Duration::from_secs(10);

/// A cluster DNS that runs until it is dropped.
#[derive(Debug)]
pub struct ClusterDns {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Both loops and the tasks that they have started; aborted when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    world: World,
    delay: Duration,
    counts: Counts,
    limits: Option<Limits>,
}

/// A capacity and the state of its queue.
#[derive(Debug)]
struct Limits {
    capacity: Capacity,
    queue: ServiceQueue,
    random: fastrand::Rng,
    /// The moment from which times of the queue and of the counts are measured.
    since: Instant,
}

impl ClusterDns {
    /// Serves a world on an address, UDP and TCP on the same port. Port 0 selects a free one.
    pub async fn start(world: World, address: SocketAddr) -> Result<Self, Failure> {
        let sockets = bind(address).await.with_context(|| format!("listening on {address} for DNS"))?;
        let address = sockets.0.local_addr().with_context("reading the address back")?;
        let state = State { world, delay: Duration::ZERO, counts: Counts::default(), limits: None };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        enlarge_buffer(&sockets.0);
        let responder = Arc::clone(&shared);
        let respond = Arc::new(move |query: &[u8], transport| responder.respond(query, transport));
        Ok(Self { address, shared, _tasks: framing::serve_both(sockets, IDLE, respond) })
    }

    /// The address that it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The queries that it received so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// Resets the counts.
    pub fn reset_counts(&self) {
        self.shared.state().counts = Counts::default();
    }

    /// Delays each answer from the next query on. Answers over one TCP connection wait for each other, as with
    /// CoreDNS.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// Limits its capacity from the next query on; the steps of its counts start now.
    pub fn set_capacity(&self, capacity: Capacity) {
        self.shared.state().limits = Some(Limits {
            capacity,
            queue: ServiceQueue::new(&capacity),
            random: fastrand::Rng::with_seed(capacity.seed),
            since: Instant::now(),
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a query, and returns the delay and the bytes of the answer; `None`: no answer.
    fn respond(&self, query: &[u8], transport: Transport) -> Option<(Duration, Vec<u8>)> {
        let query = match Message::from_vec(query) {
            Ok(query) if query.metadata.message_type == MessageType::Query => query,
            // miekg/dns, on which CoreDNS is built, drops responses and messages that it cannot parse.
            _ => return None,
        };
        let mut state = self.state();
        if state.loses(transport) {
            return None;
        }
        for question in &query.queries {
            let name = question.name().to_lowercase().to_ascii();
            let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
            state.counts.count(name, question.query_type(), transport);
        }
        let wait = state.queue(transport)?;
        let delay = state.delay;
        let mut response = if query.metadata.op_code == OpCode::Query {
            answer(&state.world, &query)
        } else {
            Message::error_msg(query.metadata.id, query.metadata.op_code, ResponseCode::NotImp)
        };
        if state.loses(transport) {
            return None;
        }
        drop(state);
        if transport == Transport::Udp {
            let limit = query.edns.as_ref().map_or(SMALLEST_UDP_LIMIT, Edns::max_payload);
            truncate(&mut response, usize::from(limit.max(SMALLEST_UDP_LIMIT)));
        }
        response.to_vec().ok().map(|bytes| (delay + wait, bytes))
    }
}

impl State {
    /// Decides whether a datagram is lost on the network.
    fn loses(&mut self, transport: Transport) -> bool {
        let Some(limits) = &mut self.limits else { return false };
        let is_lost = transport == Transport::Udp && limits.random.f64() < limits.capacity.loss;
        self.counts.lost += u64::from(is_lost);
        is_lost
    }

    /// The time that a query waits and is served; `None`: it is dropped.
    fn queue(&mut self, transport: Transport) -> Option<Duration> {
        let Some(limits) = &mut self.limits else { return Some(Duration::ZERO) };
        let now = limits.since.elapsed();
        let done = match transport {
            Transport::Udp => limits.queue.datagram(now),
            Transport::Tcp => Some(limits.queue.stream(now)),
        };
        let step = self.counts.step(now);
        step.asked += 1;
        step.dropped += u64::from(done.is_none());
        self.counts.dropped += u64::from(done.is_none());
        self.counts.step(done?).answered += 1;
        done.map(|done| done.saturating_sub(now))
    }
}

/// Makes room for the first datagrams of a whole gang, so that datagrams are lost only by an injected fault.
///
/// The default limit of the kernel is 208 KiB, some 270 datagrams. Root may exceed it, for example in a node;
/// other users get the limit.
fn enlarge_buffer(socket: &UdpSocket) {
    let forced = setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    let _ = forced.or_else(|_| setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER));
}
