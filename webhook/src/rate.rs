//! Token buckets that limit rates, in total and per namespace. Pure; `now` is a parameter.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The maximum number of namespaces with a bucket of their own; the others share one. Full buckets are
/// removed first.
const MOST_NAMESPACES: usize = 1_000;

/// The rate of a token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// The number of tokens in a full bucket.
    pub(crate) burst: u32,
    /// The time after which one token is added.
    pub(crate) interval: Duration,
}

/// A token bucket, as the time when it will be full again (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket(Instant);

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(now: Instant) -> Self {
        Self(now)
    }

    /// Takes a token if there is one.
    pub(crate) fn try_take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.0.max(now);
        let is_there = full_at - now <= rate.interval * rate.burst.saturating_sub(1);
        if is_there {
            self.0 = full_at + rate.interval;
        }
        is_there
    }
}

/// A bucket for each namespace.
#[derive(Debug)]
pub(crate) struct PerNamespace {
    rate: Rate,
    buckets: HashMap<String, Bucket>,
}

impl PerNamespace {
    /// All buckets are full.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    /// Takes a token of that namespace if there is one.
    pub(crate) fn try_take(&mut self, namespace: &str, now: Instant) -> bool {
        if !self.buckets.contains_key(namespace) && self.buckets.len() >= MOST_NAMESPACES {
            self.buckets.retain(|_, bucket| bucket.0 > now);
        }
        let is_known = self.buckets.contains_key(namespace) || self.buckets.len() < MOST_NAMESPACES;
        let namespace = if is_known { namespace } else { "" };
        let bucket = self.buckets.entry(namespace.to_owned()).or_insert_with(|| Bucket::full(now));
        bucket.try_take(self.rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[test]
    fn a_bucket_allows_a_burst_and_then_one_per_interval() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let mut at = |seconds| bucket.try_take(RATE, start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 0, 0, 0, 9, 10, 10, 19, 20].map(&mut at),
            [true, true, true, false, false, true, false, false, true]
        );
        assert_eq!([500, 500, 500, 500].map(&mut at), [true, true, true, false]);
    }

    #[test]
    fn one_namespace_takes_nothing_from_another() {
        let now = Instant::now();
        let mut buckets = PerNamespace::new(RATE);
        assert!((0..3).all(|_| buckets.try_take("a", now)) && !buckets.try_take("a", now));
        assert!(buckets.try_take("b", now));
    }

    #[test]
    fn number_of_buckets_is_limited() {
        let now = Instant::now();
        let mut buckets = PerNamespace::new(RATE);
        let allowed = (0..20_000).filter(|number| buckets.try_take(&format!("n{number}"), now)).count();
        assert_eq!((allowed, buckets.buckets.len()), (MOST_NAMESPACES + 3, MOST_NAMESPACES + 1));
        assert!(buckets.try_take("n0", now), "those that have one keep it");
        assert!(buckets.try_take("later", now + Duration::from_secs(60)), "full ones are forgotten");
        assert_eq!(buckets.buckets.len(), 1);
    }
}
