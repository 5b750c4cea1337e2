//! The log lines about reviews and rejected connections: limited in rate, and with validated names only.
//!
//! Otherwise any client that reaches the port could fill the disk with logs, or forge log lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::namespaces::Namespaces;
use crate::connections::Peer;
use crate::rate::{Bucket, PerNamespace, Rate};
use crate::review::admission::Reviewed;
use crate::review::outcome::ReviewOutcome;

/// The rate of logged reviews per namespace. A gang of a thousand pods is logged completely; all unknown
/// namespaces share one bucket.
const REVIEWS: Rate = Rate { burst: 1_000, interval: Duration::from_millis(20) };

/// The rate of logged connection errors.
const REFUSALS: Rate = Rate { burst: 10, interval: Duration::from_secs(10) };

/// Writes one log line per review.
#[derive(Debug)]
pub(crate) struct ReviewLog(Mutex<Allowance>);

#[derive(Debug)]
struct Allowance {
    buckets: PerNamespace,
    unlogged: u64,
}

impl Default for ReviewLog {
    fn default() -> Self {
        Self(Mutex::new(Allowance { buckets: PerNamespace::new(REVIEWS), unlogged: 0 }))
    }
}

impl ReviewLog {
    /// Writes the line, unless the namespace exceeds its rate.
    pub(super) fn write(&self, reviewed: &Reviewed, namespaces: &Namespaces) {
        let Reviewed { outcome, namespace, name, ignored, body: _, notice: _ } = reviewed;
        let key = if namespaces.knows(namespace) { namespace } else { "" };
        let Some(unlogged) = self.allowed(key) else { return };
        if unlogged > 0 {
            tracing::warn!(not_logged = unlogged, "too many admission reviews; not all of them were logged");
        }
        let (decision, reason) = outcome.labels();
        match outcome {
            ReviewOutcome::Done(_) => {
                tracing::info!(namespace, name, decision, reason, ignored, "admission review");
            }
            ReviewOutcome::Failed(_) => {
                tracing::warn!(namespace, name, decision, reason, ignored, "admission review");
            }
        }
    }

    /// Whether one more review may be logged, and how many were suppressed since the last one.
    fn allowed(&self, key: &str) -> Option<u64> {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if allowance.buckets.try_take(key, Instant::now()) {
            return Some(std::mem::take(&mut allowance.unlogged));
        }
        allowance.unlogged += 1;
        None
    }
}

/// Logs connections that were rejected before their first request, for example without an accepted client
/// certificate.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<Bucket>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(Bucket::full(Instant::now())))
    }
}

impl Refusals {
    /// Writes a line, unless the rate is exceeded.
    pub(super) fn write(&self, peer: Option<&Peer>, error: &std::io::Error) {
        let is_allowed =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).try_take(REFUSALS, Instant::now());
        if is_allowed {
            let from = peer.map(|peer| peer.address.ip().to_canonical().to_string());
            tracing::warn!(from, %error, "connection rejected before its first request");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn review_log_is_rate_limited_per_namespace() {
        let log = ReviewLog::default();
        let suppressed: Vec<_> = (0..5_000).filter_map(|_| log.allowed("a")).collect();
        let logged = suppressed.len();
        assert!((1_000..5_000).contains(&logged), "{logged}");
        let unlogged = suppressed.iter().sum::<u64>() + log.allowed("b").expect("another namespace");
        assert_eq!(unlogged + logged as u64, 5_000);
        assert_eq!(log.allowed("b"), Some(0));
    }
}
