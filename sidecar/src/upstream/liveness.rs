//! Whether the shared tier is alive, when it does not answer a question. Pure: the time is passed in.
//!
//! A tier that is silent may be dead, or wait for a slow cluster DNS. In the first case cluster DNS is to be asked, soon;
//! in the second it must not be, or every pod of a gang would ask what the tier asks once. So a silent tier is asked a few
//! questions that it answers by itself:
//!
//! | of its three checks it answered | it is | and so |
//! |---|---|---|
//! | all | alive | it is waited for, and asked again in case the question was lost |
//! | some | of several replicas one is gone, or datagrams are lost | this exchange goes to cluster DNS |
//! | none | dead | the same, and it steps back: it is asked last until it responds again |

use tokio::time::Instant;

/// What is known of every server of the tier, by its place in the settings.
#[derive(Debug)]
pub struct Liveness(Vec<Check>);

#[derive(Debug, Clone, Default)]
struct Check {
    is_wanted: bool,
    begun_at: Option<Instant>,
    finding: Option<Finding>,
}

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Every question was answered.
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
            _ if answered >= asked => Self::Alive,
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
        self.0[server] = Check { is_wanted: false, begun_at: Some(now), finding: None };
        Some(server)
    }

    /// Ends the check of a server.
    pub fn end(&mut self, server: usize, finding: Finding) {
        if let Some(check) = self.0.get_mut(server) {
            check.finding = Some(finding);
        }
    }

    /// Whether a check that began since then has found a server alive. One that is under way has not.
    pub fn is_alive(&self, server: usize, since: Instant) -> bool {
        let check = self.0.get(server);
        check.is_some_and(|check| {
            check.finding == Some(Finding::Alive) && check.begun_at.is_some_and(|begun_at| begun_at >= since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn all_some_and_none() {
        let findings = [3, 2, 1, 0].map(|answered| Finding::of(answered, 3));
        assert_eq!(findings, [Finding::Alive, Finding::Shaky, Finding::Shaky, Finding::Dead]);
    }

    #[test]
    fn one_check_does_for_all_who_wait_and_an_older_one_for_none() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut liveness = Liveness::new(2);
        assert!(liveness.want(1, start) && liveness.want(1, at(5)));
        assert_eq!([liveness.begin(at(10)), liveness.begin(at(10))], [Some(1), None]);
        assert!(!liveness.want(1, at(5)), "it is under way");
        assert!(!liveness.is_alive(1, start));
        liveness.end(1, Finding::Alive);
        assert!(
            liveness.is_alive(1, at(10)) && !liveness.is_alive(1, at(11)) && !liveness.is_alive(0, start)
        );
        assert!(liveness.want(1, at(11)));
    }

    #[test]
    fn a_server_that_is_not_of_the_tier_is_not_checked() {
        let mut liveness = Liveness::new(0);
        assert!(!liveness.want(0, Instant::now()) && liveness.begin(Instant::now()).is_none());
    }
}
