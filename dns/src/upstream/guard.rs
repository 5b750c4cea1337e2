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
use super::liveness::{Finding, Liveness};

/// The time within which a server of the tier is to answer, before it was found alive once.
pub const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// How long a tier may take to answer a probe, which it does by itself: the time from the probe to the first
/// exchange that leaves.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(45);

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
    /// Begin the probing that was requested.
    Probe,
    /// Query another server in place of this one.
    Leave(usize),
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

    /// The server's place in the settings.
    pub fn server(&self) -> usize {
        self.server
    }

    /// When [`Guard::due_action`] has something to do next.
    pub fn wakes_at(&self) -> Instant {
        self.probes_at.unwrap_or(self.leaves_at)
    }

    /// The action that is due now.
    ///
    /// | at the end of the pause, the probing | the exchange |
    /// |---|---|
    /// | found the server alive | begins a new pause, twice as long |
    /// | has not ended | waits for it, once |
    /// | anything else | leaves the server |
    pub fn due_action(&mut self, liveness: &mut Liveness, now: Instant, chance: u16) -> Option<GuardAction> {
        if now < self.leaves_at {
            self.probes_at.take_if(|at| now >= *at)?;
        } else {
            match liveness.finding(self.server, self.since) {
                Some(Finding::Alive) => {
                    *self = Self::new(self.server, self.pause * 2, now, chance);
                    return None;
                }
                None if !self.is_postponed => {
                    (self.leaves_at, self.is_postponed) = (now + PROBE_TIMEOUT * 4 / 3, true);
                }
                _ => return Some(GuardAction::Leave(self.server)),
            }
        }
        liveness.request_probe(self.server, self.since).then_some(GuardAction::Probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guard that has requested its probing after 175 ms, and the servers.
    fn probing(start: Instant) -> (Guard, Liveness) {
        let (mut guard, mut liveness) = (Guard::new(0, FIRST_PAUSE, start, 0), Liveness::new(1));
        let at = start + Duration::from_millis(175);
        assert_eq!(guard.due_action(&mut liveness, at, 0), Some(GuardAction::Probe));
        assert_eq!(liveness.begin_probe(at), Some(0));
        (guard, liveness)
    }

    #[test]
    fn a_silent_server_is_probed_once_and_left_before_the_pause_ends() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (chance, probes_at, leaves_at) in [(0, 175, 250), (u16::MAX, 200, 300)] {
            let (mut guard, mut liveness) = (Guard::new(0, FIRST_PAUSE, start, chance), Liveness::new(1));
            assert_eq!(guard.wakes_at(), at(probes_at));
            let mut action = |milliseconds| guard.due_action(&mut liveness, at(milliseconds), 0);
            assert_eq!((action(probes_at - 1), action(probes_at)), (None, Some(GuardAction::Probe)));
            assert_eq!(liveness.begin_probe(at(probes_at)), Some(0));
            liveness.end_probe(0, Finding::Dead);
            let mut action = |milliseconds| guard.due_action(&mut liveness, at(milliseconds), 0);
            assert_eq!((action(leaves_at - 1), action(leaves_at)), (None, Some(GuardAction::Leave(0))));
            assert_eq!(guard.wakes_at(), at(leaves_at));
        }
    }

    #[test]
    fn the_guard_waits_once_for_an_unfinished_probing() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let (mut guard, mut liveness) = probing(start);
        assert_eq!((guard.due_action(&mut liveness, at(250), 0), guard.wakes_at()), (None, at(310)));
        assert_eq!(guard.due_action(&mut liveness, at(309), 0), None);
        assert_eq!(guard.due_action(&mut liveness, at(310), 0), Some(GuardAction::Leave(0)));
    }

    #[test]
    fn a_live_server_is_probed_again_after_twice_the_time() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let (mut guard, mut liveness) = probing(start);
        liveness.end_probe(0, Finding::Alive);
        assert_eq!(guard.due_action(&mut liveness, at(250), u16::MAX), None);
        assert_eq!((guard.server(), guard.wakes_at()), (0, at(250 + 400)));
    }
}
