//! One caching forwarder for all pods of a node, as NodeLocal DNSCache is: CoreDNS with the plugins `cache` and
//! `forward`.
//!
//! Follows kubernetes/cluster/addons/dns/nodelocaldns.yaml (cluster zone: `success 9984 30`, `denial 9984 5`, forwarded
//! by TCP; other names: `cache 30`, forwarded as they came) and CoreDNS's plugin/cache (no coalescing: every miss is
//! forwarded) and plugin/forward (2 s for an attempt, 5 s for all, connections used by one query at a time and kept for
//! 10 s). Two differences, both in its favour: health checks never take the upstream out, and the cache has no bound.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster_dns::{Transport, bind, truncate};
use crate::failure::{Failure, Tried};
use crate::framing;

/// plugin/forward: `defaultTimeout` and `readTimeout`, and how long a connection is kept.
const DEADLINE: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(2);
const EXPIRE: Duration = Duration::from_secs(10);

/// The pause after an attempt that was refused.
const REFUSED: Duration = Duration::from_millis(10);

/// The longest and shortest time that an answer is kept, in seconds: plugin/cache and nodelocaldns.yaml.
const SUCCESS: (u32, u32) = (5, 30);
const DENIAL_IN_CLUSTER: (u32, u32) = (5, 5);
const DENIAL: (u32, u32) = (5, 30);

/// A forwarder that runs until it is dropped.
#[derive(Debug)]
pub struct NodeLocal {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl NodeLocal {
    /// Serves on an address, UDP and TCP, what the upstream answers; with port 0 on any free one. Names of `zone` are
    /// forwarded by TCP.
    pub async fn start(address: SocketAddr, upstream: SocketAddr, zone: Name) -> Result<Self, Failure> {
        let bound = bind(address).await;
        let (udp, tcp) = bound.tried(|| format!("listening on {address} for the node's DNS cache"))?;
        let address = udp.local_addr().tried(|| "reading the address back".to_owned())?;
        let shared = Arc::new(Shared { upstream, zone, cache: Mutex::default(), idle: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), Arc::clone(&shared)));
        tasks.spawn(serve_tcp(tcp, shared));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    zone: Name,
    cache: Mutex<HashMap<(Name, RecordType), Kept>>,
    /// Connections that no query uses, the oldest first, and since when.
    idle: Mutex<VecDeque<(TcpStream, Instant)>>,
}

#[derive(Debug)]
struct Kept {
    answer: Message,
    since: Instant,
    seconds: u32,
}

impl Shared {
    async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?;
        let key = (question.name().to_lowercase(), question.query_type());
        let mut answer = match self.cached(&key) {
            Some(answer) => answer,
            None => self.forward(&query, &key, transport).await,
        };
        answer.metadata.id = query.metadata.id;
        answer.queries.clone_from(&query.queries);
        if transport == Transport::Udp {
            truncate(&mut answer, usize::from(query.edns.as_ref().map_or(512, Edns::max_payload).max(512)));
        }
        answer.to_vec().ok()
    }

    fn cached(&self, key: &(Name, RecordType)) -> Option<Message> {
        let cache = lock(&self.cache);
        let kept = cache.get(key)?;
        let age = u32::try_from(kept.since.elapsed().as_secs()).unwrap_or(u32::MAX);
        if age >= kept.seconds {
            return None;
        }
        let mut answer = kept.answer.clone();
        for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
            record.ttl = kept.seconds - age;
        }
        Some(answer)
    }

    /// SERVFAIL where the upstream did not answer in time.
    async fn forward(&self, query: &Message, key: &(Name, RecordType), transport: Transport) -> Message {
        let in_cluster = self.zone.zone_of(&key.0);
        let by = if in_cluster { Transport::Tcp } else { transport };
        let (Ok(bytes), start) = (query.to_vec(), Instant::now()) else { return failed(query) };
        while start.elapsed() < DEADLINE {
            let exchange = async {
                match by {
                    Transport::Udp => self.over_udp(&bytes).await,
                    Transport::Tcp => self.over_tcp(&bytes).await,
                }
            };
            let answer = match timeout(ATTEMPT, exchange).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => {
                    // CoreDNS tries again at once, as fast as it is refused; a core of this machine is not its own.
                    sleep(REFUSED).await;
                    continue;
                }
                Err(_) => continue,
            };
            let Ok(answer) = Message::from_vec(&answer) else { continue };
            if let Some(seconds) = keeps(&answer, in_cluster) {
                let kept = Kept { answer: answer.clone(), since: Instant::now(), seconds };
                lock(&self.cache).insert(key.clone(), kept);
            }
            return answer;
        }
        failed(query)
    }

    async fn over_udp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect(self.upstream).await?;
        socket.send(query).await?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    }

    /// A connection that the upstream has closed meanwhile is not an attempt (`ErrCachedClosed`).
    async fn over_tcp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let idle = lock(&self.idle).pop_front();
            let is_new = idle.is_none();
            let mut stream = match idle {
                Some((_, since)) if since.elapsed() > EXPIRE => continue,
                Some((stream, _)) => stream,
                None => TcpStream::connect(self.upstream).await?,
            };
            match exchange(&mut stream, query).await {
                Ok(answer) => {
                    lock(&self.idle).push_back((stream, Instant::now()));
                    return Ok(answer);
                }
                Err(error) if is_new => return Err(error),
                Err(_) => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(query: &Message) -> Message {
    Message::error_msg(query.metadata.id, OpCode::Query, ResponseCode::ServFail)
}

/// How long an answer is kept, in seconds; `None`: not at all.
fn keeps(answer: &Message, in_cluster: bool) -> Option<u32> {
    let shortest = |records: &[hickory_proto::rr::Record]| records.iter().map(|record| record.ttl).min();
    let (ttl, (least, most)) = match answer.metadata.response_code {
        _ if answer.metadata.truncation => return None,
        ResponseCode::NoError if !answer.answers.is_empty() => (shortest(&answer.answers)?, SUCCESS),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            (shortest(&answer.authorities)?, if in_cluster { DENIAL_IN_CLUSTER } else { DENIAL })
        }
        _ => return None,
    };
    Some(ttl.clamp(least, most))
}

async fn exchange(stream: &mut TcpStream, query: &[u8]) -> io::Result<Vec<u8>> {
    framing::write(stream, query).await?;
    framing::read(stream).await
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut queries = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let (query, socket, shared) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&shared));
        queries.spawn(async move {
            if let Some(answer) = shared.answer(&query, Transport::Udp).await {
                // A client that is gone does not get it.
                let _ = socket.send_to(&answer, client).await;
            }
        });
        while queries.try_join_next().is_some() {}
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    framing::serve(listener, |stream| serve_connection(stream, Arc::clone(&shared))).await;
}

async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let query = framing::read(&mut stream).await?;
        let Some(answer) = shared.answer(&query, Transport::Tcp).await else { return Ok(()) };
        framing::write(&mut stream, &answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_dns::{Capacity, ClusterDns, World};
    use hickory_proto::op::Query;

    async fn bed() -> (ClusterDns, NodeLocal) {
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let dns = ClusterDns::start(World::example(), anywhere).await.unwrap();
        let zone = Name::from_ascii("cluster.local.").unwrap();
        let node_local = NodeLocal::start(anywhere, dns.address(), zone).await.unwrap();
        (dns, node_local)
    }

    async fn ask(server: SocketAddr, name: &str) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        socket.send_to(&query.to_vec().unwrap(), server).await.unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await.unwrap();
        Message::from_vec(&answer[..length]).unwrap()
    }

    #[tokio::test]
    async fn names_of_the_cluster_go_by_tcp_and_answers_are_kept() {
        let (dns, node_local) = bed().await;
        for name in ["db.prod.svc.cluster.local.", "api.example.com.", "nobody.default.svc.cluster.local."] {
            let answers = [ask(node_local.address(), name).await, ask(node_local.address(), name).await];
            assert_eq!(answers[0].metadata.response_code, answers[1].metadata.response_code);
            assert_eq!(answers[0].answers.len(), answers[1].answers.len());
        }
        let counts = dns.counts();
        assert_eq!((counts.over(Transport::Tcp), counts.over(Transport::Udp)), (2, 1), "{counts}");
    }

    #[tokio::test]
    async fn misses_at_the_same_instant_are_each_forwarded() {
        let (dns, node_local) = bed().await;
        dns.set_capacity(Capacity { per_second: 20.0, queue: Some(100), loss: 0.0, seed: 0 });
        let asks = (0..5).map(|_| ask(node_local.address(), "api.example.com."));
        futures_util::future::join_all(asks).await;
        assert_eq!(dns.counts().of_name("api.example.com"), 5);
    }
}
