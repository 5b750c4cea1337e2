//! Whether the shared tier is alive, when it does not answer a question. Pure: the time is passed in.
//!
//! A tier that is silent may be dead, or wait for a slow cluster DNS. In the first case cluster DNS is to be asked, soon;
//! in the second it must not be, or every pod of a gang would ask what the tier asks once. So a silent tier is asked a few
//! questions that it answers by itself:
//!
//! | of its five checks it answered | it is | and so |
//! |---|---|---|
//! | all, or all but one, which may be lost | alive | it is waited for, and asked again in case the question was lost |
//! | some | of several replicas one is gone | this exchange goes to cluster DNS |
//! | none | dead | the same, and it steps back: it is asked last until it responds again |

use std::time::Instant;

/// What is known of every server of the tier, by its place in the settings.
#[derive(Debug)]
pub struct Liveness(Vec<Check>);

#[derive(Debug, Clone, Default)]
struct Check {
    is_wanted: bool,
    begun_at: Option<Instant>,
    /// When the last check with a finding began, and what it found.
    found: Option<(Instant, Finding)>,
}

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Every question was answered, or all but one.
    Alive,
    /// Some were.
    Shaky,
    /// None was.
    Dead,
}

impl Finding {
    /// Of that many answers to that many questions.
    pub fn of(answered: usize, asked: usize) -> Self {
        match answered {
            0 => Self::Dead,
            _ if answered + 1 >= asked => Self::Alive,
            _ => Self::Shaky,
        }
    }
}

impl Liveness {
    /// Of that many servers, none of which was checked.
    pub fn new(servers: usize) -> Self {
        Self(vec![Check::default(); servers])
    }

    /// Somebody who has waited since then wants to know about a server. Whether a check has to be made for that.
    pub fn want(&mut self, server: usize, since: Instant) -> bool {
        let Some(check) = self.0.get_mut(server) else { return false };
        let is_missing = check.begun_at.is_none_or(|begun_at| begun_at < since);
        check.is_wanted |= is_missing;
        is_missing
    }

    /// Begins a check that is wanted: of whom.
    pub fn begin(&mut self, now: Instant) -> Option<usize> {
        let server = self.0.iter().position(|check| check.is_wanted)?;
        let check = self.0.get_mut(server)?;
        (check.is_wanted, check.begun_at) = (false, Some(now));
        Some(server)
    }

    /// Ends the check of a server.
    pub fn end(&mut self, server: usize, finding: Finding) {
        if let Some(check) = self.0.get_mut(server) {
            check.found = check.begun_at.map(|begun_at| (begun_at, finding));
        }
    }

    /// What a check of a server that began since then has found; `None`: none has yet.
    pub fn finding(&self, server: usize, since: Instant) -> Option<Finding> {
        let (begun_at, finding) = self.0.get(server)?.found?;
        (begun_at >= since).then_some(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn all_some_and_none() {
        let findings = [5, 4, 3, 1, 0].map(|answered| Finding::of(answered, 5));
        let expected = [Finding::Alive, Finding::Alive, Finding::Shaky, Finding::Shaky, Finding::Dead];
        assert_eq!(findings, expected);
    }

    #[test]
    fn one_check_does_for_all_who_wait_and_an_older_one_for_none() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut liveness = Liveness::new(2);
        assert!(liveness.want(1, start) && liveness.want(1, at(5)));
        assert_eq!([liveness.begin(at(10)), liveness.begin(at(10))], [Some(1), None]);
        assert!(!liveness.want(1, at(5)), "it is under way");
        assert_eq!(liveness.finding(1, start), None);
        liveness.end(1, Finding::Alive);
        let alive = Some(Finding::Alive);
        let findings = [liveness.finding(1, at(10)), liveness.finding(1, at(11)), liveness.finding(0, start)];
        assert_eq!(findings, [alive, None, None]);
        assert!(liveness.want(1, at(11)));
        assert_eq!(liveness.begin(at(12)), Some(1));
        assert_eq!(liveness.finding(1, at(10)), alive, "while the next check is under way");
    }

    #[test]
    fn a_server_that_is_not_of_the_tier_is_not_checked() {
        let mut liveness = Liveness::new(0);
        assert!(!liveness.want(0, Instant::now()) && liveness.begin(Instant::now()).is_none());
    }
}
