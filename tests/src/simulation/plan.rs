//! What leaves a pod, in which order, for the three names of the experiment's Job.

use std::collections::HashSet;
use std::time::Duration;

use crate::gang::arm::Arm;

/// One query, known by its number: which name and type it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, numbered over all look-ups.
    pub name: u8,
    /// AAAA, else A.
    pub is_aaaa: bool,
    /// In the cluster's zone.
    pub in_cluster: bool,
    /// NXDOMAIN or NODATA is the answer.
    pub is_negative: bool,
}

impl Question {
    /// How long a sidecar keeps its answer: 5 s where it is negative and the cluster's, else the 30 s of CoreDNS's `ttl 30`
    /// and `cache 30`.
    pub fn life(self) -> Duration {
        Duration::from_secs(if self.is_negative && self.in_cluster { 5 } else { 30 })
    }
}

/// The questions that are asked at one time; the next step follows when all are answered.
pub type Step = Vec<Question>;

/// How many questions a sidecar asks for the three names.
pub const QUESTIONS_OF_A_SIDECAR: u32 = 8;

/// The steps of each look-up, one look-up after the other.
///
/// | arm | `kubernetes.default` | `api.example.com` | `missing.example.com` | in all |
/// |---|---|---|---|---|
/// | `ndots:5` | 2 candidates, A and AAAA | 3 that do not exist, and itself | the same 4 | 20 |
/// | `ndots:2` | 2 candidates | itself | itself, and 3 | 14 |
/// | sidecar, with or without the tier | one question for the first, 2 for the second | the namespace `com`, and 2 | 2; the namespace is in the cache | 8 |
///
/// A sidecar asks about the namespace first and for the name itself after 200 ms at the latest; here it does both at once, as
/// it does while cluster DNS is slow.
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
            // Of the search only names in the namespace `com` can exist.
            let namespace = vec![missing_search[1][0]];
            vec![
                vec![first_only(&service[0]), service[1].clone()],
                vec![[namespace.clone(), outside].concat()],
                vec![[namespace, missing].concat()],
            ]
        }
    }
}

/// How many questions that is, each counted once.
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
