//! The round-trip time of a server, and the time to wait for it: RFC 6298, as in TCP.

use std::time::Duration;

/// The timer before the server has answered anything (RFC 8961 section 4, RFC 6298 section 2.1).
pub const INITIAL_TIMER: Duration = Duration::from_secs(1);

/// While a server has answered fewer queries than that, the timer is at least [`INITIAL_TIMER`]: a few fast
/// answers say nothing about the variation. A CoreDNS with a CPU limit answers one query within a millisecond
/// and the next after the quota's period of 100 ms, and a pod that takes that for loss makes it slower.
const FEW_SAMPLES: u32 = 8;

/// The same for a server whose answers take longer than [`MARGIN`]: it has a queue, which grows while a gang
/// starts, or a CPU limit. A pod that has seen the head of the queue must not take its tail for loss.
const SLOW_INITIAL_TIMER: Duration = Duration::from_secs(3);

/// The least time that is added to SRTT (`G`, RFC 6298 section 2): the answer of a server that always takes
/// the same time must not race with the timer.
pub const MARGIN: Duration = Duration::from_millis(100);

/// The longest timer of a silent server, so that waiting clients are answered within 4 s of its return.
pub const MAX_TIMER: Duration = Duration::from_millis(3500);

/// SRTT and RTTVAR of one server.
///
/// Every answer belongs to one transmission, by its socket and id, so every sample counts, and Karn's
/// algorithm has nothing to leave out.
#[derive(Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<Smoothed>,
    samples: u32,
    /// The timer after the last response: it is looked at several times for each.
    timer: Option<Duration>,
}

#[derive(Debug)]
struct Smoothed {
    mean: Duration,
    variation: Duration,
}

impl RoundTrip {
    /// Takes the time of one response into account (RFC 6298 sections 2.2 and 2.3).
    pub fn observe(&mut self, sample: Duration) {
        self.samples = self.samples.saturating_add(1);
        let smoothed = match &self.smoothed {
            None => Smoothed { mean: sample, variation: sample / 2 },
            Some(Smoothed { mean, variation }) => Smoothed {
                mean: (*mean * 7 + sample) / 8,
                variation: (*variation * 3 + mean.abs_diff(sample)) / 4,
            },
        };
        self.timer = Some(smoothed.timer(self.samples));
        self.smoothed = Some(smoothed);
    }

    /// SRTT and RTTVAR; `None` before the first response.
    pub fn smoothed(&self) -> Option<(Duration, Duration)> {
        self.smoothed.as_ref().map(|Smoothed { mean, variation }| (*mean, *variation))
    }

    /// The time to wait for a response.
    ///
    /// | responses so far | timer |
    /// |---|---|
    /// | none | [`INITIAL_TIMER`] |
    /// | any number | SRTT + 4 RTTVAR, at least [`MARGIN`] above SRTT |
    /// | fewer than [`FEW_SAMPLES`], SRTT up to [`MARGIN`] | the same, at least [`INITIAL_TIMER`] |
    /// | fewer than [`FEW_SAMPLES`], SRTT above [`MARGIN`] | the same, at least [`SLOW_INITIAL_TIMER`] |
    pub fn timer(&self) -> Duration {
        self.timer.unwrap_or(INITIAL_TIMER)
    }
}

impl Smoothed {
    /// The timer after so many responses.
    fn timer(&self, samples: u32) -> Duration {
        let shortest = match samples {
            FEW_SAMPLES.. => Duration::ZERO,
            _ if self.mean > MARGIN => SLOW_INITIAL_TIMER,
            _ => INITIAL_TIMER,
        };
        (self.mean + (self.variation * 4).max(MARGIN)).max(shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: impl IntoIterator<Item = u64>) -> Duration {
        let mut time = RoundTrip::default();
        samples.into_iter().for_each(|sample| time.observe(Duration::from_millis(sample)));
        time.timer()
    }

    #[test]
    fn the_timer_is_1_s_without_a_sample_and_100_ms_for_a_quick_server() {
        assert_eq!(after([]), Duration::from_secs(1));
        assert_eq!([after([1; 7]), after([1; 8])], [INITIAL_TIMER, Duration::from_millis(101)]);
        assert_eq!([after([150; 7]), after([100; 7])], [SLOW_INITIAL_TIMER, INITIAL_TIMER]);
    }

    #[test]
    fn a_slow_server_gets_more_time_from_its_first_answer_on() {
        assert_eq!(after([1000]), Duration::from_secs(3));
        assert_eq!(after([2000]), Duration::from_secs(6));
        assert!(after([2000; 100]) >= Duration::from_millis(2100), "it does not race with the timer");
    }

    #[test]
    fn one_slow_answer_is_forgotten_by_a_few_quick_ones() {
        assert!(after([1, 1, 1, 2000]) > Duration::from_secs(1));
        assert!(after([2000].into_iter().chain([1; 60])) < Duration::from_millis(110));
    }

    #[test]
    fn rfc6298_2_3_the_variation_is_updated_before_the_mean() {
        let mut time = RoundTrip::default();
        time.observe(Duration::from_millis(400));
        time.observe(Duration::from_millis(800));
        let expected = (Duration::from_millis(450), Duration::from_millis((3 * 200 + 400) / 4));
        assert_eq!(time.smoothed(), Some(expected));
    }
}
