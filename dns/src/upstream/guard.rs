//! What one exchange does about a silent server of the shared tier. Pure: the time is passed in.
//!
//! ```text
//!   175..200 ms   the server is probed                                seven twelfths of the first pause, and up to one more
//!   250..300 ms   unless it is alive, the exchange leaves the server   ten twelfths, and up to two more
//! ```
//!
//! When the server is alive, the same happens again in twice that time. Both times have a jitter, because the
//! pods of a gang wait together.
//!
//! Not sooner: a tier that has lost a datagram retransmits after 100 ms, and its answer comes then.

use std::time::{Duration, Instant};

use super::fraction_of;

/// The time within which a server of the tier is to answer, before it was found alive once.
pub const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A server of the tier that has to answer, or to answer a probe.
#[derive(Debug)]
pub struct Guard {
    server: usize,
    pause: Duration,
    since: Instant,
    /// `None` once the probe has been requested.
    probes_at: Option<Instant>,
    leaves_at: Instant,
    is_postponed: bool,
}

/// What an exchange is to do about the server.
#[derive(Debug, PartialEq, Eq)]
pub enum GuardAction {
    /// Request a probing of the server that begins at `since` or later.
    Probe {
        /// The index of the server.
        server: usize,
        /// Since when the server is silent.
        since: Instant,
    },
    /// Query another server in its place, unless a probing that began later than that found it alive.
    Leave {
        /// The index of the server.
        server: usize,
        /// Since when the server is silent.
        unless_alive_since: Instant,
    },
}

impl Guard {
    /// The server is queried now; `pause` is [`FIRST_PAUSE`] the first time. `chance` is a uniformly
    /// distributed random number for the jitter, so that the pods of a gang do not all go to cluster DNS at
    /// the same instant.
    pub fn new(server: usize, pause: Duration, now: Instant, chance: u16) -> Self {
        let probes_after = pause * 7 / 12 + fraction_of(pause / 12, chance);
        let leaves_after = pause * 10 / 12 + fraction_of(pause / 6, chance);
        let (probes_at, leaves_at) = (Some(now + probes_after), now + leaves_after);
        Self { server, pause, since: now, probes_at, leaves_at, is_postponed: false }
    }

    /// A guard for the next period: the server was found alive, and is still silent.
    #[must_use]
    pub fn rearmed(&self, now: Instant, chance: u16) -> Self {
        Self::new(self.server, self.pause * 2, now, chance)
    }

    /// Postpones the end because the probing has not ended. Returns whether that is allowed: only once.
    pub fn postpone(&mut self, now: Instant) -> bool {
        self.leaves_at = now + PROBE_TIMEOUT * 4 / 3;
        !std::mem::replace(&mut self.is_postponed, true)
    }

    /// The server's place in the settings.
    pub fn server(&self) -> usize {
        self.server
    }

    /// When [`Guard::due_action`] has something to do next.
    pub fn wakes_at(&self) -> Instant {
        self.probes_at.unwrap_or(self.leaves_at)
    }

    /// The action that is due now; each action is returned once.
    pub fn due_action(&mut self, now: Instant) -> Option<GuardAction> {
        if now >= self.leaves_at {
            return Some(GuardAction::Leave { server: self.server, unless_alive_since: self.since });
        }
        self.probes_at
            .take_if(|at| now >= *at)
            .map(|_| GuardAction::Probe { server: self.server, since: self.since })
    }
}

/// How long a tier may take to answer a probe, which it does by itself: the time from the probe to the first
/// exchange that leaves.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(45);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_probed_once_and_left_before_the_pause_ends() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (chance, probes_at, leaves_at) in [(0, 175, 250), (u16::MAX, 200, 300)] {
            let mut guard = Guard::new(3, FIRST_PAUSE, start, chance);
            assert_eq!((guard.due_action(at(probes_at - 1)), guard.wakes_at()), (None, at(probes_at)));
            assert_eq!(guard.due_action(at(probes_at)), Some(GuardAction::Probe { server: 3, since: start }));
            assert_eq!((guard.due_action(at(leaves_at - 1)), guard.wakes_at()), (None, at(leaves_at)));
            assert_eq!(
                guard.due_action(at(leaves_at)),
                Some(GuardAction::Leave { server: 3, unless_alive_since: start })
            );
        }
    }

    #[test]
    fn the_guard_waits_once_for_an_unfinished_probing() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut guard = Guard::new(3, FIRST_PAUSE, start, 0);
        assert!(guard.due_action(at(175)).is_some() && guard.postpone(at(250)));
        assert_eq!((guard.due_action(at(309)), guard.wakes_at()), (None, at(310)));
        assert!(guard.due_action(at(310)).is_some() && !guard.postpone(at(310)));
    }

    #[test]
    fn a_live_server_is_probed_again_after_twice_the_time() {
        let start = Instant::now();
        let guard = Guard::new(3, FIRST_PAUSE, start, 0).rearmed(start, u16::MAX);
        assert_eq!((guard.server(), guard.wakes_at()), (3, start + Duration::from_millis(400)));
    }
}
