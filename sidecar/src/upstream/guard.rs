//! What one exchange does about a server of the shared tier that is silent. Pure: the time is passed in.
//!
//! ```text
//!   200 ms        it is checked whether the server is alive       two thirds of the first pause
//!   250..300 ms   unless it is, the exchange leaves it            five sixths of it, and up to a sixth more
//! ```
//!
//! Not sooner: a tier that has lost a datagram asks again after 150 ms (its `hedge-after`), and its answer comes then.

use std::time::Duration;

use tokio::time::Instant;

use super::random;

/// A server of the tier that has to answer, or to show that it is alive.
#[derive(Debug)]
pub struct Guard {
    server: usize,
    asked_at: Instant,
    /// `None` once it has been wanted.
    checks_at: Option<Instant>,
    leaves_at: Instant,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Have the server checked, unless that has begun since then.
    Check {
        /// Which one.
        server: usize,
        /// When it was asked.
        since: Instant,
    },
    /// Ask another one in its place.
    Leave {
        /// Which one.
        server: usize,
        /// When it was asked.
        unless_alive_since: Instant,
    },
}

impl Guard {
    /// The server was asked now. `chance` is any number, each as likely: it spreads the times of leaving, so that the pods
    /// of a gang do not go to cluster DNS in one instant.
    pub fn new(server: usize, first_pause: Duration, now: Instant, chance: u16) -> Self {
        let leaves_after = first_pause * 5 / 6 + random::share(first_pause / 6, chance);
        Self {
            server,
            asked_at: now,
            checks_at: Some(now + first_pause * 2 / 3),
            leaves_at: now + leaves_after,
        }
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
            return Some(Due::Leave { server: self.server, unless_alive_since: self.asked_at });
        }
        self.checks_at
            .take_if(|at| now >= *at)
            .map(|_| Due::Check { server: self.server, since: self.asked_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_checked_once_at_two_thirds_of_the_pause_and_left_before_the_pause_is_over() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (chance, leaves_at) in [(0, 250), (u16::MAX, 300)] {
            let mut guard = Guard::new(3, Duration::from_millis(300), start, chance);
            assert_eq!((guard.due(at(199)), guard.wakes_at()), (None, at(200)));
            assert_eq!(guard.due(at(200)), Some(Due::Check { server: 3, since: start }));
            assert_eq!((guard.due(at(leaves_at - 1)), guard.wakes_at()), (None, at(leaves_at)));
            assert_eq!(guard.due(at(leaves_at)), Some(Due::Leave { server: 3, unless_alive_since: start }));
        }
    }
}
