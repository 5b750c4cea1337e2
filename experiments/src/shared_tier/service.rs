//! A model of the Service in front of the replicas of a tier: one address for the ready replicas.
//!
//! As in a cluster, a replica that is no longer ready is removed a moment later, when every node knows. Each
//! datagram is a separate flow, since a sidecar sends each query from a new port. Datagrams to a replica that
//! has ended are lost.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::framing;
use podlocal_harness::loopback::proxy::{Proxy, is_ready};
use podlocal_harness::loopback::tier::FREE;
use podlocal_harness::model::cluster_dns::bind;

/// The interval of readiness probes.
const PROBE: Duration = Duration::from_millis(100);

/// The time from the end of a replica's readiness until every node has removed it.
const PROPAGATION: Duration = Duration::from_secs(1);

/// The time-out for an answer: longer than that of any sidecar.
const FLOW: Duration = Duration::from_secs(5);

/// A Service that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) address: SocketAddr,
    replicas: Replicas,
    _tasks: JoinSet<()>,
}

type Replicas = Arc<Mutex<Vec<Replica>>>;

#[derive(Debug)]
struct Replica {
    dns: SocketAddr,
    admin: SocketAddr,
    is_in: bool,
    unready_since: Option<Instant>,
}

impl Service {
    /// Starts a Service without replicas.
    pub(super) async fn start() -> Result<Self, Failure> {
        let (udp, tcp) = bind(FREE).await.with_context(|| "opening the Service's port".to_owned())?;
        let address = udp.local_addr().with_context(|| "reading the Service's address".to_owned())?;
        let (replicas, mut tasks) = (Replicas::default(), JoinSet::new());
        tasks.spawn(forward_datagrams(Arc::new(udp), Arc::clone(&replicas)));
        tasks.spawn(forward_connections(tcp, Arc::clone(&replicas)));
        tasks.spawn(watch(Arc::clone(&replicas)));
        Ok(Self { address, replicas, _tasks: tasks })
    }

    /// Adds a replica, and waits until it is ready.
    pub(super) async fn add(&self, replica: &Proxy) -> Result<(), Failure> {
        let (dns, admin) = (replica.dns, replica.admin);
        lock(&self.replicas).push(Replica { dns, admin, is_in: false, unready_since: None });
        let is_in = async {
            let mut beat = interval(PROBE);
            while !lock(&self.replicas).iter().any(|replica| replica.dns == dns && replica.is_in) {
                beat.tick().await;
            }
        };
        timeout(FLOW, is_in).await.with_context(|| format!("waiting for the replica at {dns} to be ready"))
    }
}

fn lock(replicas: &Replicas) -> std::sync::MutexGuard<'_, Vec<Replica>> {
    replicas.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Picks one of the ready replicas with equal probability.
fn pick(replicas: &Replicas) -> Option<SocketAddr> {
    let replicas = lock(replicas);
    let those_in: Vec<_> = replicas.iter().filter(|replica| replica.is_in).collect();
    fastrand::choice(those_in).map(|replica| replica.dns)
}

async fn watch(replicas: Replicas) {
    let mut beat = interval(PROBE);
    loop {
        beat.tick().await;
        let admins: Vec<_> = lock(&replicas).iter().map(|replica| replica.admin).collect();
        for admin in admins {
            let is_ready = is_ready(admin).await;
            if let Some(replica) = lock(&replicas).iter_mut().find(|replica| replica.admin == admin) {
                replica.note(is_ready, Instant::now());
            }
        }
    }
}

impl Replica {
    fn note(&mut self, is_ready: bool, now: Instant) {
        if is_ready {
            (self.is_in, self.unready_since) = (true, None);
        } else if now - *self.unready_since.get_or_insert(now) >= PROPAGATION {
            self.is_in = false;
        }
    }
}

async fn forward_datagrams(front: Arc<UdpSocket>, replicas: Replicas) {
    let mut flows = JoinSet::new();
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, client)) = front.recv_from(&mut buffer).await else { continue };
        let Some(replica) = pick(&replicas) else { continue };
        let (front, question) = (Arc::clone(&front), buffer[..length].to_vec());
        flows.spawn(async move {
            // A failed exchange counts as a lost datagram.
            if let Ok(Ok(answer)) = timeout(FLOW, exchange(replica, &question)).await {
                let _ = front.send_to(&answer, client).await;
            }
        });
        while flows.try_join_next().is_some() {}
    }
}

async fn exchange(replica: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(replica).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn forward_connections(listener: TcpListener, replicas: Replicas) {
    let serve = |mut client: TcpStream| {
        let replica = pick(&replicas);
        async move {
            let replica = replica.ok_or(io::ErrorKind::ConnectionRefused)?;
            let mut replica = TcpStream::connect(replica).await?;
            copy_bidirectional(&mut client, &mut replica).await.map(drop)
        }
    };
    framing::serve(listener, serve).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_taken_out_a_second_after_it_is_ready_no_more() {
        let start = Instant::now();
        let mut replica = Replica { dns: FREE, admin: FREE, is_in: false, unready_since: None };
        let mut states = Vec::new();
        for (milliseconds, is_ready) in [(0, false), (100, true), (200, false), (1100, false), (1200, false)]
        {
            replica.note(is_ready, start + Duration::from_millis(milliseconds));
            states.push(replica.is_in);
        }
        assert_eq!(states, [false, true, true, true, false]);
    }
}
