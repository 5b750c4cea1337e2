//! How long a server takes, and so how long to wait before it is asked again: RFC 6298, as TCP does it.

use std::time::Duration;

use crate::limits;

/// The smoothed round-trip time of one server and its variation.
///
/// Every attempt has a socket of its own, so an answer is never taken for that to another attempt, and every
/// sample counts (Karn's algorithm has nothing to leave out).
#[derive(Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<Smoothed>,
}

#[derive(Debug)]
struct Smoothed {
    mean: Duration,
    variation: Duration,
}

impl RoundTrip {
    /// Takes the time of one response into account (RFC 6298 sections 2.2 and 2.3).
    pub fn observe(&mut self, sample: Duration) {
        self.smoothed = Some(match &self.smoothed {
            None => Smoothed { mean: sample, variation: sample / 2 },
            Some(Smoothed { mean, variation }) => Smoothed {
                mean: (*mean * 7 + sample) / 8,
                variation: (*variation * 3 + mean.abs_diff(sample)) / 4,
            },
        });
    }

    /// The smoothed mean and the variation; `None` before the first response.
    pub fn smoothed(&self) -> Option<(Duration, Duration)> {
        self.smoothed.as_ref().map(|Smoothed { mean, variation }| (*mean, *variation))
    }

    /// The time to wait for this server before the next attempt: its mean and four times the variation, never below
    /// `shortest`. Before its first response, that.
    pub fn pause(&self, shortest: Duration) -> Duration {
        let expected = self.smoothed.as_ref().map_or(Duration::ZERO, |Smoothed { mean, variation }| {
            *mean + (*variation * 4).max(limits::SMALLEST_MARGIN)
        });
        expected.clamp(shortest, limits::LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(300);

    fn after(samples: impl IntoIterator<Item = u64>) -> Duration {
        let mut time = RoundTrip::default();
        samples.into_iter().for_each(|sample| time.observe(Duration::from_millis(sample)));
        time.pause(SHORTEST)
    }

    #[test]
    fn a_quick_server_is_given_300_ms() {
        for samples in [vec![], vec![0], vec![1; 100], vec![20, 50, 30]] {
            assert_eq!(after(samples.clone()), Duration::from_millis(300), "{samples:?}");
        }
    }

    #[test]
    fn a_server_that_takes_two_seconds_is_given_longer_from_its_first_answer_on() {
        assert_eq!(after([2000]), Duration::from_secs(3));
        for count in 2..200 {
            let pause = after(vec![2000; count]);
            assert!(pause >= Duration::from_millis(2100), "{pause:?} after {count} answers");
        }
    }

    #[test]
    fn one_slow_answer_is_forgotten_by_a_few_quick_ones() {
        assert!(after([1, 1, 1, 2000]) > Duration::from_secs(1));
        assert_eq!(after([2000].into_iter().chain([1; 40])), Duration::from_millis(300));
    }

    #[test]
    fn rfc6298_2_3_the_variation_is_taken_before_the_mean_moves() {
        let mut time = RoundTrip::default();
        time.observe(Duration::from_millis(800));
        time.observe(Duration::from_millis(1600));
        // Mean 900, variation (3 * 400 + 800) / 4 = 500: 2.9 s.
        assert_eq!(time.pause(SHORTEST), Duration::from_millis(2900));
    }
}
