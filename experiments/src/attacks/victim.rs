//! The victim: another pod that asks the attacked tier, the application of an attacked pod, or pods that are created while
//! the webhook is attacked.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use podlocal_harness::cluster::load::Load;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_harness::table::percentile;
use podlocal_harness::time::now;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{VICTIM, message};

/// From the begin of one hit to that of the next: 500 a second.
const HIT_INTERVAL: Duration = Duration::from_millis(2);

/// From the begin of one miss to that of the next; one does not wait for the other.
const MISS_INTERVAL: Duration = Duration::from_millis(50);

/// From the begin of one creation to that of the next.
const CREATION_INTERVAL: Duration = Duration::from_millis(50);

/// How long a hit and a miss are waited for; glibc's timeout, without its second attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is measured.
pub enum Victim {
    /// A pod that asks a tier with this address.
    OfTier(Ipv4Addr),
    /// The application of a pod.
    OfPod(Load),
    /// Creations of pods.
    OfWebhook(Cluster),
}

/// How it fared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    /// Hits, lookups of the pod, or creations of pods: how many succeeded in a second.
    pub rate: f64,
    /// How long they took at the median, in milliseconds.
    pub p50: f64,
    /// The same for 99 of 100.
    pub p99: f64,
    /// How many failed.
    pub failed: usize,
    /// Misses of a tier: how many there were.
    pub misses: usize,
    /// How many of them failed.
    pub misses_failed: usize,
    /// How long 90 of 100 took, in milliseconds. Every fourth loses its first datagram on the way to the upstream.
    pub miss_p90: f64,
}

impl Victim {
    /// Measures it for this long.
    pub async fn measure(&self, length: Duration) -> Result<Measured, Failure> {
        match self {
            Self::OfTier(address) => of_tier((*address, 53).into(), length).await,
            Self::OfPod(load) => {
                let from = now();
                sleep(length).await;
                let lookups = load.lookups().await?;
                let lookups = lookups.iter().filter(|lookup| lookup.at >= from);
                let taken = lookups.map(|lookup| (lookup.ms, !lookup.is_failure())).collect();
                Ok(Measured::of(taken, length))
            }
            Self::OfWebhook(cluster) => of_webhook(cluster, length).await,
        }
    }
}

impl Measured {
    /// Of what every hit took, in milliseconds, and whether it succeeded.
    fn of(taken: Vec<(f64, bool)>, length: Duration) -> Self {
        let failed = taken.iter().filter(|(_, succeeded)| !succeeded).count();
        let (rate, mut ms) = ((taken.len() - failed) as f64 / length.as_secs_f64(), Vec::new());
        ms.extend(taken.into_iter().map(|(ms, _)| ms));
        ms.sort_by(f64::total_cmp);
        let (p50, p99) = (percentile(&ms, 0.5), percentile(&ms, 0.99));
        Self { rate, p50, p99, failed, ..Self::default() }
    }
}

async fn of_tier(tier: SocketAddr, length: Duration) -> Result<Measured, Failure> {
    let (hits, misses) = tokio::join!(hits(tier, length), misses(tier, length));
    let (hits, mut misses) = (hits?, misses?);
    misses.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ms: Vec<f64> = misses.iter().map(|(ms, _)| *ms).collect();
    Ok(Measured {
        misses: misses.len(),
        misses_failed: misses.iter().filter(|(_, succeeded)| !succeeded).count(),
        miss_p90: percentile(&ms, 0.9),
        ..Measured::of(hits, length)
    })
}

async fn hits(tier: SocketAddr, length: Duration) -> Result<Vec<(f64, bool)>, Failure> {
    let socket = connected(tier).await?;
    let (end, mut ticks, mut taken) = (Instant::now() + length, interval(HIT_INTERVAL), Vec::new());
    // One that was late is followed by the next at once, so that a delay costs no more than itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        taken.push(ask(&socket, "hit.victim.test", taken.len() as u16).await);
    }
    Ok(taken)
}

async fn misses(tier: SocketAddr, length: Duration) -> Result<Vec<(f64, bool)>, Failure> {
    let (end, mut ticks, mut asked) = (Instant::now() + length, interval(MISS_INTERVAL), Vec::new());
    while Instant::now() < end {
        ticks.tick().await;
        let prefix = if asked.len() % 4 == 3 { "lossy" } else { "miss" };
        let name = format!("{prefix}-{:.0}-{}.victim.test", now() * 1e3, asked.len());
        asked.push(tokio::spawn(async move { Ok(ask(&connected(tier).await?, &name, 1).await) }));
    }
    let mut taken = Vec::new();
    for task in asked {
        taken.push(task.await.tried(|| "asking for a name".to_owned())??);
    }
    Ok(taken)
}

async fn connected(tier: SocketAddr) -> Result<UdpSocket, Failure> {
    let connecting = || format!("asking {tier} from {VICTIM}");
    let socket = UdpSocket::bind((VICTIM, 0)).await.tried(connecting)?;
    socket.connect(tier).await.tried(connecting)?;
    Ok(socket)
}

/// How long a query took, in milliseconds, and whether it got an address.
async fn ask(socket: &UdpSocket, name: &str, id: u16) -> (f64, bool) {
    let begin = Instant::now();
    let query = message::query(id, name, message::A);
    let exchange = async {
        let mut buffer = [0; 1500];
        socket.send(&query).await?;
        loop {
            let length = socket.recv(&mut buffer).await?;
            let response = buffer.get(..length).unwrap_or_default();
            if message::id(response) == Some(id) {
                return Ok::<_, std::io::Error>(message::rcode(response) == Some(0));
            }
        }
    };
    let succeeded = matches!(timeout(PATIENCE, exchange).await, Ok(Ok(true)));
    (begin.elapsed().as_secs_f64() * 1e3, succeeded)
}

async fn of_webhook(cluster: &Cluster, length: Duration) -> Result<Measured, Failure> {
    let (end, mut ticks, mut taken) = (Instant::now() + length, interval(CREATION_INTERVAL), Vec::new());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        let begin = Instant::now();
        let pod = product::dry_run(cluster).await?;
        taken.push((begin.elapsed().as_secs_f64() * 1e3, product::sidecar(&pod).is_some()));
    }
    Ok(Measured::of(taken, length))
}
