//! A DNS server that misbehaves as told, and counts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::failure::{Failure, Tried};
use crate::framing;

/// How it answers; changed while it runs.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Of a thousand datagrams, how many are lost on the way here, and on the way back.
    pub loss: [u64; 2],
    /// Whether it says nothing at all.
    pub is_silent: bool,
    /// How long an answer takes.
    pub delay: Duration,
    /// The TTL of its answers, in seconds.
    pub ttl: u32,
    /// Names that do not exist yet.
    pub missing: Vec<String>,
    /// The address of every other name.
    pub address: Ipv4Addr,
    /// What it says in place of an answer: 2, SERVFAIL; 5, REFUSED. None: it answers.
    pub refusal: Option<u8>,
}

impl Default for Manner {
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

/// A server of any A record of any name.
#[derive(Debug)]
pub struct Upstream {
    /// UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    asked: AtomicU64,
    /// The state of the sequence that decides what is lost: the same for the same seed.
    random: AtomicU64,
}

impl Upstream {
    /// Starts one on a free port.
    pub async fn start(seed: u64) -> Result<Self, Failure> {
        let shared = Shared {
            manner: Mutex::default(),
            asked: AtomicU64::new(0),
            random: AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        };
        let mut upstream = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
        };
        upstream.open().await?;
        Ok(upstream)
    }

    /// Opens its ports again, the same ones.
    pub async fn open(&mut self) -> Result<(), Failure> {
        let opening = || format!("opening the upstream's port {}", self.address);
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(self.address).await.tried(opening)?;
            let address = udp.local_addr().tried(opening)?;
            match TcpListener::bind(address).await {
                Ok(tcp) => break (udp, tcp),
                // Another program holds the TCP port of that number.
                Err(_) if self.address.port() == 0 => {}
                Err(error) => return Err(error).tried(opening),
            }
        };
        self.address = udp.local_addr().tried(|| "reading the upstream's address".to_owned())?;
        self.tasks.spawn(serve_udp(Arc::new(udp), Arc::clone(&self.shared)));
        self.tasks.spawn(serve_tcp(tcp, Arc::clone(&self.shared)));
        Ok(())
    }

    /// Closes its ports: who asks is told that nobody listens.
    pub async fn close(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Changes how it answers.
    pub fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.shared.manner());
    }

    /// How often it was asked, by UDP or TCP, and what was lost on the way included.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn manner(&self) -> std::sync::MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next datagram is lost (xorshift: Marsaglia, "Xorshift RNGs", 2003).
    fn loses(&self, per_mille: u64) -> bool {
        let mut state = self.random.load(Ordering::SeqCst);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.store(state, Ordering::SeqCst);
        (state >> 33) % 1000 < per_mille
    }

    /// What to say to a question, and when; none: nothing.
    fn answer(&self, question: &[u8]) -> Option<(Vec<u8>, Duration)> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let manner = self.manner();
        (!manner.is_silent).then(|| answer(question, &manner)).flatten().map(|answer| (answer, manner.delay))
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    loop {
        // An answer that met a closed port comes back as an error here.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let loss = shared.manner().loss;
        let Some((answer, delay)) = shared.answer(&buffer[..length]) else { continue };
        if shared.loses(loss[0]) || shared.loses(loss[1]) {
            continue;
        }
        if delay.is_zero() {
            let _ = socket.send_to(&answer, client).await;
            continue;
        }
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            sleep(delay).await;
            let _ = socket.send_to(&answer, client).await;
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    framing::serve(listener, |stream| serve_connection(stream, Arc::clone(&shared))).await;
}

async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let question = framing::read(&mut stream).await?;
        let Some((answer, delay)) = shared.answer(&question) else { continue };
        sleep(delay).await;
        framing::write(&mut stream, &answer).await?;
    }
}

/// The question with one address behind it, NXDOMAIN or a refusal; none when it is no question.
fn answer(question: &[u8], manner: &Manner) -> Option<Vec<u8>> {
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
    let is_missing = manner.missing.contains(&labels.join("."));
    let rcode = manner.refusal.unwrap_or(if is_missing { 3 } else { 0 });
    let has_address = rcode == 0;
    answer[2..12].copy_from_slice(&[0x81, 0x80 | rcode, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    if has_address {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        answer.extend_from_slice(&manner.ttl.to_be_bytes());
        answer.extend_from_slice(&[0, 4]);
        answer.extend_from_slice(&manner.address.octets());
    }
    Some(answer)
}
