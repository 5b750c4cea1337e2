//! The wall clock: the times of pods, kernels and lookups are compared with each other by it.

use std::time::{Duration, SystemTime};

/// The time since 1970.
pub fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The same in seconds, as the lookups of a pod have it.
pub fn now() -> f64 {
    since_1970().as_secs_f64()
}
