//! The queries that a pod sends for the three names of the experiment's Job, in order.

use std::collections::HashSet;
use std::time::Duration;

use crate::gang::arm::Arm;

/// A question: name and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// The number of the name, unique over all lookups.
    pub name: u8,
    /// Whether the type is AAAA; otherwise A.
    pub is_aaaa: bool,
    /// Whether the name is in the cluster domain.
    pub in_cluster: bool,
    /// Whether the answer is NXDOMAIN or NODATA.
    pub is_negative: bool,
}

impl Question {
    /// The time for which a sidecar caches the answer: 5 s for a negative answer in the cluster domain,
    /// otherwise the 30 s of CoreDNS's `ttl 30` and `cache 30`.
    pub fn ttl(self) -> Duration {
        Duration::from_secs(if self.is_negative && self.in_cluster { 5 } else { 30 })
    }
}

/// The queries that are sent at the same time; the next step follows when all are answered.
pub type Step = Vec<Question>;

/// The number of queries that a sidecar sends for the three names.
pub const QUESTIONS_OF_A_SIDECAR: u32 = 8;

/// The steps of each lookup, one lookup after the other.
///
/// | arm | `kubernetes.default` | `api.example.com` | `missing.example.com` | in all |
/// |---|---|---|---|---|
/// | `ndots:5` | 2 candidates, A and AAAA | 3 that do not exist, and itself | the same 4 | 20 |
/// | `ndots:2` | 2 candidates | itself | itself, and 3 | 14 |
/// | sidecar, with or without the tier | one question for the first, 2 for the second | the namespace `com`, and 2 | 2; the namespace is in the cache | 8 |
///
/// A sidecar asks about the namespace first, and for the name itself after 200 ms at the latest. Here it
/// sends both at the same time, as it does while cluster DNS is slow.
pub fn plan(arm: Arm) -> Vec<Vec<Step>> {
    let mut name = 0;
    let mut both = |in_cluster: bool, exists: [bool; 2]| {
        name += 1;
        let question = |is_aaaa: bool| Question {
            name,
            is_aaaa,
            in_cluster,
            is_negative: !exists[usize::from(is_aaaa)],
        };
        vec![question(false), question(true)]
    };
    let none = [false, false];
    let service = vec![both(true, none), both(true, [true, false])];
    let outside = both(false, [true, false]);
    let missing = both(false, none);
    let mut search = || vec![both(true, none), both(true, none), both(true, none)];
    let (outside_search, missing_search) = (search(), search());
    let first_only = |step: &Step| vec![step[0]];
    match arm {
        Arm::Direct | Arm::NodeLocal => {
            vec![service, [outside_search, vec![outside]].concat(), [missing_search, vec![missing]].concat()]
        }
        Arm::Ndots2 => vec![service, vec![outside], [vec![missing], missing_search].concat()],
        Arm::Injected | Arm::Shared => {
            // Of the search candidates only names in the namespace `com` can exist.
            let namespace = vec![missing_search[1][0]];
            vec![
                vec![first_only(&service[0]), service[1].clone()],
                vec![[namespace.clone(), outside].concat()],
                vec![[namespace, missing].concat()],
            ]
        }
    }
}

/// The number of different questions in the plan.
pub fn questions(arm: Arm) -> usize {
    plan(arm).iter().flatten().flatten().collect::<HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_asks_as_often_as_the_table_says() {
        assert_eq!(Arm::ALL.map(questions), [20, 14, 20, 8, 8]);
        assert_eq!(questions(Arm::Injected), QUESTIONS_OF_A_SIDECAR as usize);
    }
}
