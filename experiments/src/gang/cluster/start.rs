//! The common start of the pods of a gang, and whether all of them kept it.

use std::time::Duration;

use podlocal_harness::cluster::client::Lookup;
use podlocal_harness::time::now;

/// The fixed part of the time for a start, in seconds: creating the Job, and batching in the controllers.
const BASE: f64 = 10.0;

/// Pods whose first lookup started later than this after the common start, in seconds, were not ready then.
/// Two cores wake 80 processes within a few milliseconds.
pub(super) const TOLERANCE: f64 = 0.5;

/// The part of each pod: nearly twice the time that a pod without injection needs on two cores.
const SECONDS_PER_POD: f64 = 0.45;

/// The common start for pods that are created at `now`; both in whole seconds since 1970. After each start that
/// was too early, the pods get more time.
pub(super) fn common_start(now: f64, pods: usize, late_starts: u32) -> f64 {
    let slower = 1.6_f64.powi(late_starts.cast_signed());
    (now + BASE + SECONDS_PER_POD * slower * pods as f64).ceil()
}

/// The number of pods whose first lookup was too late for the common start.
pub(super) fn late(start: f64, pods: &[Vec<Lookup>]) -> usize {
    let is_late = |lookups: &&Vec<Lookup>| lookups.first().is_some_and(|first| first.at - start > TOLERANCE);
    pods.iter().filter(is_late).count()
}

/// Waits for a point in time.
pub(super) async fn sleep_until(time: f64) {
    tokio::time::sleep(Duration::from_secs_f64((time - now()).max(0.0))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began_at(at: f64) -> Vec<Lookup> {
        let lookup = |at| Lookup {
            name: "a".to_owned(),
            at,
            ms: 1.0,
            error: String::new(),
            addresses: vec!["10.0.0.1".to_owned()],
        };
        vec![lookup(at), lookup(at + 20.0)]
    }

    #[test]
    fn a_late_pod_is_counted_by_its_first_lookup() {
        let pods = [began_at(100.0), began_at(100.4), began_at(100.6), began_at(130.0), vec![]];
        assert_eq!(late(100.0, &pods), 2);
    }

    #[test]
    fn a_gang_that_was_late_gets_more_time() {
        let starts = [0, 1].map(|late_starts| common_start(1000.2, 80, late_starts));
        assert_eq!(starts.map(f64::to_bits), [1047.0, 1068.0].map(f64::to_bits));
    }
}
