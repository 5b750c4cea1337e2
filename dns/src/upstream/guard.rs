//! What one exchange does about a server of the shared tier that is silent. Pure: the time is passed in.
//!
//! ```text
//!   175..200 ms   it is checked whether the server is alive       seven twelfths of the first pause, and up to one more
//!   250..300 ms   unless it is, the exchange leaves it            ten twelfths, and up to two more
//! ```
//!
//! Once it is found alive, the same happens again in twice that time. Both are spread: the pods of a gang wait together.
//!
//! Not sooner: a tier that has lost a datagram asks again after 100 ms, and its answer comes then.

use std::time::{Duration, Instant};

use super::share;

/// The first pause.
pub const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A server of the tier that has to answer, or to show that it is alive.
#[derive(Debug)]
pub struct Guard {
    server: usize,
    pause: Duration,
    since: Instant,
    /// `None` once it has been wanted.
    checks_at: Option<Instant>,
    leaves_at: Instant,
    is_postponed: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Have the server checked, unless that has begun since then.
    Check {
        /// Which one.
        server: usize,
        /// Since when it is silent.
        since: Instant,
    },
    /// Ask another one in its place.
    Leave {
        /// Which one.
        server: usize,
        /// Since when it is silent.
        unless_alive_since: Instant,
    },
}

impl Guard {
    /// The server was asked now; `pause` is [`FIRST_PAUSE`] the first time. `chance` is any number, each as likely: it spreads the times of leaving, so that the pods
    /// of a gang do not go to cluster DNS in one instant.
    pub fn new(server: usize, pause: Duration, now: Instant, chance: u16) -> Self {
        let checks_after = pause * 7 / 12 + share(pause / 12, chance);
        let leaves_after = pause * 10 / 12 + share(pause / 6, chance);
        let (checks_at, leaves_at) = (Some(now + checks_after), now + leaves_after);
        Self { server, pause, since: now, checks_at, leaves_at, is_postponed: false }
    }

    /// The server was found alive, and is still silent.
    #[must_use]
    pub fn again(&self, now: Instant, chance: u16) -> Self {
        Self::new(self.server, self.pause * 2, now, chance)
    }

    /// No check has found anything yet. Whether that is waited for, once.
    pub fn postpone(&mut self, now: Instant) -> bool {
        self.leaves_at = now + CHECK_PATIENCE * 4 / 3;
        !std::mem::replace(&mut self.is_postponed, true)
    }

    /// The server's place in the settings.
    pub fn server(&self) -> usize {
        self.server
    }

    /// When something is to be done next.
    pub fn wakes_at(&self) -> Instant {
        self.checks_at.unwrap_or(self.leaves_at)
    }

    /// What is to be done now, each once.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.leaves_at {
            return Some(Due::Leave { server: self.server, unless_alive_since: self.since });
        }
        self.checks_at.take_if(|at| now >= *at).map(|_| Due::Check { server: self.server, since: self.since })
    }
}

/// How long a tier may take to answer a check, which it does by itself: from the check to the first exchange that leaves.
pub const CHECK_PATIENCE: Duration = Duration::from_millis(45);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_checked_once_and_left_before_the_pause_is_over() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (chance, checks_at, leaves_at) in [(0, 175, 250), (u16::MAX, 200, 300)] {
            let mut guard = Guard::new(3, FIRST_PAUSE, start, chance);
            assert_eq!((guard.due(at(checks_at - 1)), guard.wakes_at()), (None, at(checks_at)));
            assert_eq!(guard.due(at(checks_at)), Some(Due::Check { server: 3, since: start }));
            assert_eq!((guard.due(at(leaves_at - 1)), guard.wakes_at()), (None, at(leaves_at)));
            assert_eq!(guard.due(at(leaves_at)), Some(Due::Leave { server: 3, unless_alive_since: start }));
        }
    }

    #[test]
    fn a_check_without_a_finding_is_waited_for_once() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut guard = Guard::new(3, FIRST_PAUSE, start, 0);
        assert!(guard.due(at(175)).is_some() && guard.postpone(at(250)));
        assert_eq!((guard.due(at(309)), guard.wakes_at()), (None, at(310)));
        assert!(guard.due(at(310)).is_some() && !guard.postpone(at(310)));
    }

    #[test]
    fn one_that_is_alive_is_checked_again_in_twice_the_time() {
        let start = Instant::now();
        let guard = Guard::new(3, FIRST_PAUSE, start, 0).again(start, u16::MAX);
        assert_eq!((guard.server(), guard.wakes_at()), (3, start + Duration::from_millis(400)));
    }
}
