//! Whom an exchange asks, how and when. Pure.
//!
//! | who leads it | when | asks |
//! |---|---|---|
//! | a stub resolver | 0 | cluster DNS by UDP; its time-outs are in `stub` |
//! | the node's cache | 0, 2 and 4 s; gives up at 5 s | cluster DNS, for names of the cluster by TCP |
//! | a sidecar | 0; 0.3 s; gives up at 4 s | cluster DNS by UDP; by TCP |
//! | the tier | 0; 0.15 s; gives up at 4 s | cluster DNS by UDP; by TCP |
//! | a sidecar that knows a tier | 0 | the tier by UDP |
//! | | 0.2 s | the tier, whether it is alive: see `liveness` |
//! | ... it is | 0.3 s; 0.9 s; 2.1 s | the tier by TCP; by UDP; cluster DNS by UDP |
//! | ... it is not | between 0.25 and 0.3 s; 0.3 s later | cluster DNS by UDP; by TCP |
//! | ... it has refused | at once; 0.3 s later | cluster DNS by UDP; by TCP |

use std::time::Duration;

/// plugin/forward: an attempt, and all attempts.
const NODE_ATTEMPT: Duration = Duration::from_secs(2);
const NODE_DEADLINE: Duration = Duration::from_secs(5);

/// The sidecar: the first pause, each later one twice as long, and all attempts.
const SIDECAR_PAUSE: Duration = Duration::from_millis(300);
const SIDECAR_DEADLINE: Duration = Duration::from_secs(4);

/// The tier's first pause: half the sidecars', so that a loss behind it is made up for before they are impatient.
const TIER_PAUSE: Duration = Duration::from_millis(150);

/// When a sidecar has a silent tier checked, and when at the earliest and at the latest it leaves one that is not alive.
const CHECK: Duration = Duration::from_millis(200);
const LEAVE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(300));

/// Who leads an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    Stub,
    NodeCache,
    Sidecar,
    SidecarBehindTier,
    Tier,
}

/// How far an exchange is: what it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    First,
    /// Is the tier alive?
    Look,
    /// Unless it is: for cluster DNS.
    Leave,
    Second,
    Third,
    Last,
    /// The tier has refused.
    Alone,
    Again,
    End,
}

/// What an exchange does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Ask { whom: Whom, by_tcp: bool },
    Look,
    Wait,
    Fail,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    ClusterDns,
    Tier,
}

/// What bears on the next act of an exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) leader: Leader,
    /// Since its first act.
    pub(super) elapsed: Duration,
    /// Whether the name is the cluster's.
    pub(super) in_cluster: bool,
    /// Whether it was checked and found alive.
    pub(super) is_tier_alive: bool,
    /// From 0 to 1, drawn for this act.
    pub(super) chance: f64,
}

/// What an exchange does at that stage; the next stage, and how long after.
pub(super) fn act(stage: Stage, situation: Situation) -> (Act, Option<(Duration, Stage)>) {
    let Situation { leader, elapsed, in_cluster, is_tier_alive, chance } = situation;
    let cluster_dns = |by_tcp| Act::Ask { whom: Whom::ClusterDns, by_tcp };
    let tier = |by_tcp| Act::Ask { whom: Whom::Tier, by_tcp };
    let end = Some((SIDECAR_DEADLINE.saturating_sub(elapsed), Stage::End));
    match (leader, stage) {
        (Leader::Stub, _) => (cluster_dns(false), None),
        (Leader::NodeCache, _) if elapsed >= NODE_DEADLINE => (Act::Fail, None),
        (Leader::NodeCache, _) => (cluster_dns(in_cluster), Some((NODE_ATTEMPT, Stage::First))),
        (_, Stage::End) => (Act::Fail, None),
        (_, Stage::Again) => (cluster_dns(true), end),
        (Leader::SidecarBehindTier, Stage::First) => (tier(false), Some((CHECK, Stage::Look))),
        (_, Stage::Look) => {
            let leaves_at = LEAVE.0 + LEAVE.1.saturating_sub(LEAVE.0).mul_f64(chance);
            (Act::Look, Some((leaves_at.saturating_sub(elapsed), Stage::Leave)))
        }
        (_, Stage::Leave) if is_tier_alive => {
            (Act::Wait, Some((SIDECAR_PAUSE.saturating_sub(elapsed), Stage::Second)))
        }
        (_, Stage::Second) => (tier(true), Some((SIDECAR_PAUSE * 2, Stage::Third))),
        (_, Stage::Third) => (tier(false), Some((SIDECAR_PAUSE * 4, Stage::Last))),
        (_, Stage::Last) => (cluster_dns(false), end),
        (Leader::Tier, Stage::First | Stage::Alone) => (cluster_dns(false), Some((TIER_PAUSE, Stage::Again))),
        (_, Stage::First | Stage::Leave | Stage::Alone) => {
            (cluster_dns(false), Some((SIDECAR_PAUSE, Stage::Again)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that an exchange does, with the milliseconds since its beginning.
    fn acts(leader: Leader, is_tier_alive: bool, from: Stage) -> Vec<(u128, Act)> {
        let (mut elapsed, mut stage, mut acts) = (Duration::ZERO, from, Vec::new());
        loop {
            let situation = Situation { leader, elapsed, in_cluster: false, is_tier_alive, chance: 0.5 };
            let (act, next) = act(stage, situation);
            acts.push((elapsed.as_millis(), act));
            let Some((after, then)) = next else { return acts };
            (elapsed, stage) = (elapsed + after, then);
        }
    }

    const fn ask(whom: Whom, by_tcp: bool) -> Act {
        Act::Ask { whom, by_tcp }
    }

    const UDP: Act = ask(Whom::ClusterDns, false);
    const TCP: Act = ask(Whom::ClusterDns, true);

    #[test]
    fn whoever_asks_cluster_dns_alone_does_as_the_table_says() {
        assert_eq!(acts(Leader::Stub, false, Stage::First), [(0, UDP)]);
        let of_node = acts(Leader::NodeCache, false, Stage::First);
        assert_eq!(of_node, [(0, UDP), (2000, UDP), (4000, UDP), (6000, Act::Fail)]);
        for (leader, pause) in [(Leader::Sidecar, 300), (Leader::Tier, 150)] {
            assert_eq!(acts(leader, false, Stage::First), [(0, UDP), (pause, TCP), (4000, Act::Fail)]);
        }
    }

    #[test]
    fn a_sidecar_asks_a_tier_that_is_alive_again_and_turns_away_from_a_dead_one() {
        let tier = |by_tcp| ask(Whom::Tier, by_tcp);
        let of_alive = acts(Leader::SidecarBehindTier, true, Stage::First);
        let begin = [(0, tier(false)), (200, Act::Look)];
        let again = [(275, Act::Wait), (300, tier(true)), (900, tier(false)), (2100, UDP), (4000, Act::Fail)];
        assert_eq!(of_alive, [&begin[..], &again].concat());
        let of_dead = acts(Leader::SidecarBehindTier, false, Stage::First);
        assert_eq!(of_dead, [&begin[..], &[(275, UDP), (575, TCP), (4000, Act::Fail)]].concat());
        let refused = acts(Leader::SidecarBehindTier, true, Stage::Alone);
        assert_eq!(refused, [(0, UDP), (300, TCP), (4000, Act::Fail)]);
    }
}
