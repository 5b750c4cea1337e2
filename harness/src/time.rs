//! The wall clock, which makes the times of pods, kernels and lookups comparable.

use std::time::{Duration, SystemTime};

/// The time since 1970.
pub fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The time since 1970 in seconds, as in the lookups of a pod.
pub fn now() -> f64 {
    since_1970().as_secs_f64()
}
