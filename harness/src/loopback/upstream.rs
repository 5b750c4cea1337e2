//! A DNS server with injected faults, which counts its queries.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::failure::{Failure, WithContext};
use crate::framing::{self, Transport};

/// The behaviour of the server, which can change while it runs.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// The numbers of lost datagrams in a thousand: queries, and answers.
    pub loss: [u64; 2],
    /// Whether it answers nothing at all.
    pub is_silent: bool,
    /// The delay of an answer.
    pub delay: Duration,
    /// The TTL of its answers, in seconds.
    pub ttl: u32,
    /// Names that do not exist yet.
    pub missing: Vec<String>,
    /// The address of every other name.
    pub address: Ipv4Addr,
    /// The RCODE that it sends instead of an answer: 2, SERVFAIL; 5, REFUSED. `None`: it answers.
    pub refusal: Option<u8>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            loss: [0; 2],
            is_silent: false,
            delay: Duration::ZERO,
            ttl: 3600,
            missing: Vec::new(),
            address: Ipv4Addr::new(10, 0, 0, 1),
            refusal: None,
        }
    }
}

/// A server that has an A record for every name.
#[derive(Debug)]
pub struct Upstream {
    /// Its address for UDP and TCP.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    asked: u64,
    /// Decides which datagrams are lost.
    random: Rng,
}

impl Upstream {
    /// Starts a server on a free port. The datagrams that it loses depend on the seed only.
    pub async fn start(seed: u64) -> Result<Self, Failure> {
        let state = State { behaviour: Behaviour::default(), asked: 0, random: Rng::with_seed(seed) };
        let mut upstream = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Arc::new(Mutex::new(state)),
            tasks: JoinSet::new(),
        };
        upstream.open().await?;
        Ok(upstream)
    }

    /// Reopens its ports.
    pub async fn open(&mut self) -> Result<(), Failure> {
        let opening = || format!("opening the upstream's port {}", self.address);
        let sockets = framing::bind(self.address).await.with_context(opening)?;
        self.address = sockets.0.local_addr().with_context("reading the upstream's address")?;
        let state = Arc::clone(&self.state);
        let respond = Arc::new(move |query: &[u8], transport| lock(&state).respond(query, transport));
        self.tasks = framing::serve_both(sockets, Duration::MAX, respond);
        Ok(())
    }

    /// Closes its ports, so that queries are refused by the kernel.
    pub async fn close(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Changes its behaviour.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.state).behaviour);
    }

    /// The number of queries sent to it over UDP or TCP, including lost ones.
    pub fn asked(&self) -> u64 {
        lock(&self.state).asked
    }
}

impl State {
    /// The answer to a query, and its delay; `None`: no answer, or one of both is lost.
    fn respond(&mut self, query: &[u8], transport: Transport) -> Option<(Duration, Vec<u8>)> {
        self.asked += 1;
        let behaviour = &self.behaviour;
        let answer = if behaviour.is_silent { None } else { answer(query, behaviour) }?;
        let mut is_lost = || behaviour.loss.iter().any(|per_mille| self.random.u64(..1000) < *per_mille);
        (transport == Transport::Tcp || !is_lost()).then_some((behaviour.delay, answer))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The query with one address appended, NXDOMAIN or a refusal; `None` when the message is not a query.
fn answer(question: &[u8], behaviour: &Behaviour) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let mut answer = question.get(..at + 4)?.to_vec();
    let is_missing = behaviour.missing.contains(&labels.join("."));
    let rcode = behaviour.refusal.unwrap_or(if is_missing { 3 } else { 0 });
    let has_address = rcode == 0;
    answer[2..12].copy_from_slice(&[0x81, 0x80 | rcode, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    if has_address {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        answer.extend_from_slice(&behaviour.ttl.to_be_bytes());
        answer.extend_from_slice(&[0, 4]);
        answer.extend_from_slice(&behaviour.address.octets());
    }
    Some(answer)
}
