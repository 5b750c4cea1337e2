//! What one sidecar finds out about a silent tier: a few questions that a tier answers by itself. Pure; time is passed in.

use std::time::Duration;

/// How many questions, each from a port of its own; one may be lost.
pub(super) const CHECKS: usize = 5;

/// How long they are waited for.
const PATIENCE: Duration = Duration::from_millis(45);

/// The latest check, and what came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Liveness {
    begun: Option<Duration>,
    answered: usize,
    is_dead: bool,
}

impl Liveness {
    /// Somebody who has waited since then wants to know. Whether the questions are to be sent: one check does for all who
    /// wait.
    pub(super) fn want(&mut self, now: Duration, since: Duration) -> bool {
        let is_missing = self.begun.is_none_or(|begun| begun < since);
        if is_missing {
            (self.begun, self.answered) = (Some(now), 0);
        }
        is_missing
    }

    /// One of them is answered.
    pub(super) fn answer(&mut self, now: Duration, asked_at: Duration) {
        let is_in_time = self.begun == Some(asked_at) && now.saturating_sub(asked_at) <= PATIENCE;
        self.answered += usize::from(is_in_time);
    }

    /// Who has waited since then has to know now: whether all were answered, or all but one. None: the tier is dead.
    pub(super) fn conclude(&mut self, since: Duration) -> bool {
        let is_checked = self.begun.is_some_and(|begun| begun >= since);
        self.is_dead |= is_checked && self.answered == 0;
        is_checked && self.answered + 1 >= CHECKS
    }

    /// Whether it was found dead. It is not asked again; the real sidecar's probes would find it back, but no sooner than
    /// half a second later.
    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_is_alive_if_all_or_all_but_one_are_answered_in_time_and_dead_if_none_is() {
        for (answers, is_alive, is_dead) in
            [(5, true, false), (4, true, false), (3, false, false), (0, false, true)]
        {
            let mut liveness = Liveness::default();
            assert!(
                liveness.want(at(150), at(0)) && !liveness.want(at(155), at(5)),
                "one check does for both"
            );
            for _ in 0..answers {
                liveness.answer(at(151), at(150));
            }
            liveness.answer(at(246), at(150));
            assert_eq!((liveness.conclude(at(0)), liveness.is_dead()), (is_alive, is_dead), "{answers}");
        }
    }

    #[test]
    fn an_older_check_says_nothing() {
        let mut liveness = Liveness::default();
        liveness.want(at(150), at(0));
        (0..CHECKS).for_each(|_| liveness.answer(at(151), at(150)));
        assert!(liveness.conclude(at(150)) && !liveness.conclude(at(151)) && !liveness.is_dead());
        assert!(liveness.want(at(301), at(151)));
    }
}
