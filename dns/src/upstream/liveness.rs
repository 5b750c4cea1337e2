//! Whether the shared tier is alive, when it does not answer a query. Pure: the time is passed in.
//!
//! A silent tier may be dead, or it may wait for a slow cluster DNS. In the first case cluster DNS is to be
//! queried, soon; in the second it must not be, or every pod of a gang would send the queries that the tier
//! sends once. So a silent tier gets a few probes, which it answers by itself:
//!
//! | answers to the five probes | the tier is | so |
//! |---|---|---|
//! | all, or all but one, which may be lost | alive | the exchange waits for it, and retransmits in case the query was lost |
//! | some | partly alive: one of several replicas is dead | this exchange goes to cluster DNS |
//! | none | dead | the same, and the server is ejected: it is queried last until it responds again |

use std::time::Instant;

/// The findings about every server of the tier, by its index in the settings.
#[derive(Debug)]
pub struct Liveness(Vec<ServerProbe>);

#[derive(Debug, Clone, Default)]
struct ServerProbe {
    is_wanted: bool,
    began_at: Option<Instant>,
    /// When the last finished probing began, and its finding.
    found: Option<(Instant, Finding)>,
}

/// The result of probing one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// All probes were answered, or all but one.
    Alive,
    /// Some probes were answered.
    Partial,
    /// No probe was answered.
    Dead,
}

impl Finding {
    /// The finding from the number of answers and of probes.
    pub fn of(answered: usize, asked: usize) -> Self {
        match answered {
            0 => Self::Dead,
            _ if answered + 1 >= asked => Self::Alive,
            _ => Self::Partial,
        }
    }
}

impl Liveness {
    /// For so many servers, none of which has been probed.
    pub fn new(servers: usize) -> Self {
        Self(vec![ServerProbe::default(); servers])
    }

    /// Requests the probing of a server, for an exchange that has waited since `since`. Returns whether it
    /// has to begin, because no probing began after that time.
    pub fn request_probe(&mut self, server: usize, since: Instant) -> bool {
        let Some(probe) = self.0.get_mut(server) else { return false };
        let is_missing = probe.began_at.is_none_or(|began_at| began_at < since);
        probe.is_wanted |= is_missing;
        is_missing
    }

    /// Begins a requested probing, and returns the server to probe.
    pub fn begin_probe(&mut self, now: Instant) -> Option<usize> {
        let server = self.0.iter().position(|probe| probe.is_wanted)?;
        let probe = self.0.get_mut(server)?;
        (probe.is_wanted, probe.began_at) = (false, Some(now));
        Some(server)
    }

    /// Records the finding about a server.
    pub fn end_probe(&mut self, server: usize, finding: Finding) {
        if let Some(probe) = self.0.get_mut(server) {
            probe.found = probe.began_at.map(|began_at| (began_at, finding));
        }
    }

    /// The finding about a server, if the probing began at `since` or later and has ended.
    pub fn finding(&self, server: usize, since: Instant) -> Option<Finding> {
        let (began_at, finding) = self.0.get(server)?.found?;
        (began_at >= since).then_some(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_number_of_answered_probes_decides() {
        let findings = [5, 4, 3, 1, 0].map(|answered| Finding::of(answered, 5));
        let expected = [Finding::Alive, Finding::Alive, Finding::Partial, Finding::Partial, Finding::Dead];
        assert_eq!(findings, expected);
    }

    #[test]
    fn exchanges_share_one_probing_but_not_an_older_one() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut liveness = Liveness::new(2);
        assert!(liveness.request_probe(1, start) && liveness.request_probe(1, at(5)));
        assert_eq!([liveness.begin_probe(at(10)), liveness.begin_probe(at(10))], [Some(1), None]);
        assert!(!liveness.request_probe(1, at(5)), "it is in progress");
        assert_eq!(liveness.finding(1, start), None);
        liveness.end_probe(1, Finding::Alive);
        let alive = Some(Finding::Alive);
        let findings = [liveness.finding(1, at(10)), liveness.finding(1, at(11)), liveness.finding(0, start)];
        assert_eq!(findings, [alive, None, None]);
        assert!(liveness.request_probe(1, at(11)));
        assert_eq!(liveness.begin_probe(at(12)), Some(1));
        assert_eq!(liveness.finding(1, at(10)), alive, "while the next probing is in progress");
    }

    #[test]
    fn only_servers_of_the_tier_are_probed() {
        let mut liveness = Liveness::new(0);
        assert!(!liveness.request_probe(0, Instant::now()) && liveness.begin_probe(Instant::now()).is_none());
    }
}
