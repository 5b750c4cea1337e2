//! Applications that look names up at a steady rate, each name once, through one sidecar after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::failure::{Failure, Tried};
use crate::faults::client::{Seen, ask_from};

/// One look-up.
#[derive(Debug)]
pub(super) struct LookUp {
    pub(super) asked_at: Instant,
    /// The place of the sidecar.
    pub(super) sidecar: usize,
    pub(super) seen: Seen,
}

/// Look-ups that go on until they are told to end.
#[derive(Debug)]
pub(super) struct Steady {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<LookUp>>,
}

impl Steady {
    /// So many a second in all, of names that begin so.
    pub(super) fn start(source: Ipv4Addr, sidecars: Vec<SocketAddr>, per_second: u32, prefix: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (ends, prefix) = (Arc::clone(&is_over), prefix.to_owned());
        let task = tokio::spawn(async move {
            let (mut beat, mut under_way) = (interval(Duration::from_secs(1) / per_second), JoinSet::new());
            let mut look_ups = Vec::new();
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
                    Some(LookUp { asked_at, sidecar, seen })
                });
                while let Some(ended) = under_way.try_join_next() {
                    look_ups.extend(ended.ok().flatten());
                }
            }
            look_ups.extend(under_way.join_all().await.into_iter().flatten());
            look_ups
        });
        Self { is_over, task }
    }

    /// Ends them; what was looked up, those under way included.
    pub(super) async fn end(self) -> Result<Vec<LookUp>, Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.tried(|| "looking names up".to_owned())
    }
}

/// How many got no address, and how long the slowest took, in milliseconds.
pub(super) fn failed_and_slowest(look_ups: &[LookUp]) -> (usize, f64) {
    let failed = look_ups.iter().filter(|look_up| !look_up.seen.is_answered()).count();
    let slowest = look_ups.iter().map(|look_up| look_up.seen.milliseconds()).fold(0.0, f64::max);
    (failed, slowest)
}
