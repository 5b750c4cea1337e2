//! The victim: another pod that sends queries to the attacked tier, the application of an attacked pod, or
//! pods that are created while the webhook is attacked.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use podlocal_harness::cluster::load::Load;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::client::{LookupResult, ask_from};
use podlocal_harness::table::percentiles;
use podlocal_harness::time::{now, since_1970};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::VICTIM;
use crate::load::open::{Lookup, Open};
use crate::load::{Names, in_thread};

/// The time from the start of one hit to the start of the next: 500 per second.
const HIT_INTERVAL: Duration = Duration::from_millis(2);

/// The time from the start of one miss to the start of the next. Misses do not wait for each other.
const MISS_INTERVAL: Duration = Duration::from_millis(50);

/// The time from the start of one creation to the start of the next.
const CREATION_INTERVAL: Duration = Duration::from_millis(50);

/// The victim that is measured.
pub enum Victim {
    /// A pod that sends queries to a tier at this address.
    TierClient(Ipv4Addr),
    /// The application in a pod.
    Application(Load),
    /// Creations of pods, which pass the webhook.
    PodCreations(Cluster),
}

/// The measurements of a victim.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VictimStats {
    /// Successful hits, lookups of the pod, or creations of pods, per second.
    pub rate: f64,
    /// Their median duration, in milliseconds.
    pub p50: f64,
    /// The 99th percentile of the same.
    pub p99: f64,
    /// How many failed.
    pub failed: usize,
    /// The number of misses of a tier client.
    pub misses: usize,
    /// The number of failed misses.
    pub misses_failed: usize,
    /// The 90th percentile of a miss, in milliseconds. Every fourth miss loses its first datagram on the way
    /// to the upstream.
    pub miss_p90: f64,
}

impl Victim {
    /// Measures the victim for this time.
    pub async fn measure(&self, length: Duration) -> Result<VictimStats, Failure> {
        match self {
            Self::TierClient(address) => measure_tier_client((*address, 53).into(), length).await,
            Self::Application(load) => {
                let from = now();
                sleep(length).await;
                let lookups = load.lookups().await?;
                let lookups = lookups.iter().filter(|lookup| lookup.at >= from);
                let taken = lookups.map(|lookup| (lookup.ms, !lookup.is_failure())).collect();
                Ok(VictimStats::of(taken, length))
            }
            Self::PodCreations(cluster) => measure_pod_creations(cluster, length).await,
        }
    }
}

impl VictimStats {
    /// Summarises the duration of every hit in milliseconds, and whether it succeeded.
    fn of(taken: Vec<(f64, bool)>, length: Duration) -> Self {
        let failed = taken.iter().filter(|(_, succeeded)| !succeeded).count();
        let rate = (taken.len() - failed) as f64 / length.as_secs_f64();
        let [p50, p99] = percentiles(taken.into_iter().map(|(ms, _)| ms), [0.5, 0.99]);
        Self { rate, p50, p99, failed, ..Self::default() }
    }
}

async fn measure_tier_client(tier: SocketAddr, length: Duration) -> Result<VictimStats, Failure> {
    let (hits, misses) = tokio::join!(hits(tier, length), misses(tier, length));
    let (hits, misses) = (hits?, misses?);
    let seen = || misses.iter().map(|lookup| &lookup.seen);
    let [miss_p90] = percentiles(seen().map(LookupResult::milliseconds), [0.9]);
    Ok(VictimStats {
        misses: misses.len(),
        misses_failed: seen().filter(|seen| !seen.is_answered()).count(),
        miss_p90,
        ..VictimStats::of(hits, length)
    })
}

/// The duration of each hit in milliseconds, and whether it got an address.
async fn hits(tier: SocketAddr, length: Duration) -> Result<Vec<(f64, bool)>, Failure> {
    let (end, mut ticks, mut taken) = (Instant::now() + length, interval(HIT_INTERVAL), Vec::new());
    // After a late answer the next query follows immediately, so that one delay does not count twice.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        let seen = ask_from(VICTIM, tier, "hit.victim.test", RecordType::A).await?;
        taken.push((seen.milliseconds(), seen.is_answered()));
    }
    Ok(taken)
}

/// Sends queries for new names. Every fourth query loses its first datagram on the way to the upstream.
async fn misses(tier: SocketAddr, length: Duration) -> Result<Vec<Lookup>, Failure> {
    // One at the start and one at the end: no later answer could show that a last, lossy one was lost.
    let queries = (length.as_nanos() / MISS_INTERVAL.as_nanos()) as usize + 1;
    let load = Open::new(vec![(VICTIM, tier)], queries, MISS_INTERVAL);
    let (names, lossy) = (Names::new("miss")?, Names::new("lossy")?);
    // No name is one of an earlier measurement: there are fewer than a hundred names in a second.
    let first = since_1970().as_secs() as usize * 100;
    let query = move |number| {
        let names = if number % 4 == 3 { &lossy } else { &names };
        names.query(first + number)
    };
    in_thread(None, move || load.run(query)).await
}

async fn measure_pod_creations(cluster: &Cluster, length: Duration) -> Result<VictimStats, Failure> {
    let (end, mut ticks, mut taken) = (Instant::now() + length, interval(CREATION_INTERVAL), Vec::new());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        let begin = Instant::now();
        let pod = product::dry_run(cluster).await?;
        taken.push((begin.elapsed().as_secs_f64() * 1e3, product::sidecar(&pod).is_some()));
    }
    Ok(VictimStats::of(taken, length))
}
