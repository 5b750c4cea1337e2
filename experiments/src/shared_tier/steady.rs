//! Applications that look up names at a steady rate, each name once, through the sidecars in turn.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::{LookupResult, ask_from};

/// One lookup.
#[derive(Debug)]
pub(super) struct SteadyLookup {
    pub(super) asked_at: Instant,
    /// The index of the sidecar.
    pub(super) sidecar: usize,
    pub(super) seen: LookupResult,
}

/// Lookups at a steady rate, until [`Self::end`].
#[derive(Debug)]
pub(super) struct Steady {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<SteadyLookup>>,
}

impl Steady {
    /// Starts lookups at this total rate, of names with this prefix.
    pub(super) fn start(source: Ipv4Addr, sidecars: Vec<SocketAddr>, per_second: u32, prefix: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (ends, prefix) = (Arc::clone(&is_over), prefix.to_owned());
        let task = tokio::spawn(async move {
            let (mut beat, mut under_way) = (interval(Duration::from_secs(1) / per_second), JoinSet::new());
            let mut lookups = Vec::new();
            let servers = sidecars.iter().copied().enumerate().cycle();
            for (number, (sidecar, server)) in servers.enumerate() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                beat.tick().await;
                let name = format!("{prefix}-{number}.example.com");
                under_way.spawn(async move {
                    let asked_at = Instant::now();
                    let seen = ask_from(source, server, &name, RecordType::A).await.ok()?;
                    Some(SteadyLookup { asked_at, sidecar, seen })
                });
                while let Some(ended) = under_way.try_join_next() {
                    lookups.extend(ended.ok().flatten());
                }
            }
            lookups.extend(under_way.join_all().await.into_iter().flatten());
            lookups
        });
        Self { is_over, task }
    }

    /// Stops the lookups, and returns all of them, including those in flight.
    pub(super) async fn end(self) -> Result<Vec<SteadyLookup>, Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.with_context(|| "looking up names".to_owned())
    }
}

/// The number of lookups without an address, and the duration of the slowest, in milliseconds.
pub(super) fn failed_and_slowest(lookups: &[SteadyLookup]) -> (usize, f64) {
    let failed = lookups.iter().filter(|look_up| !look_up.seen.is_answered()).count();
    let slowest = lookups.iter().map(|look_up| look_up.seen.milliseconds()).fold(0.0, f64::max);
    (failed, slowest)
}
