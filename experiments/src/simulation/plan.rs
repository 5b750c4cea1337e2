//! The queries that a pod sends for the three names of the experiment's Job, in order.

use std::collections::HashSet;
use std::time::Duration;

use podlocal_dns::expansion;

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
    let mut questions = Questions::default();
    match arm {
        Arm::Direct | Arm::NodeLocal => NAMES.map(|name| questions.of_client(name, 5)).into(),
        Arm::Ndots2 => NAMES.map(|name| questions.of_client(name, 2)).into(),
        Arm::Injected | Arm::Shared => {
            let first_only = |step: Step| step.into_iter().take(1).collect::<Step>();
            // Of the search candidates only names in the namespace `com` can exist.
            let namespace = first_only(questions.both(true, false));
            vec![
                vec![first_only(questions.both(true, false)), questions.both(true, true)],
                vec![[namespace.clone(), questions.both(false, true)].concat()],
                vec![[namespace, questions.both(false, false)].concat()],
            ]
        }
    }
}

/// The names that a pod looks up.
const NAMES: [&str; 3] = ["kubernetes.default", "api.example.com", "missing.example.com"];

/// The absolute names that have an address, of type A.
const EXISTING: [&str; 2] = ["kubernetes.default.svc.cluster.local.", "api.example.com."];

/// The search list of the pod.
const SEARCH: [&str; 3] = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"];

/// Numbers the names of questions.
#[derive(Default)]
struct Questions {
    last: u8,
}

impl Questions {
    /// The steps of a C library: candidate by candidate, until one exists.
    fn of_client(&mut self, name: &str, ndots: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for candidate in expansion::candidates(name, &SEARCH.map(str::to_owned), ndots) {
            let exists = EXISTING.contains(&candidate.as_str());
            steps.push(self.both(candidate.ends_with(".cluster.local."), exists));
            if exists {
                break;
            }
        }
        steps
    }

    /// A and AAAA of another name, which has an address of type A or none.
    fn both(&mut self, in_cluster: bool, has_address: bool) -> Step {
        self.last += 1;
        let question = |is_aaaa: bool| Question {
            name: self.last,
            is_aaaa,
            in_cluster,
            is_negative: is_aaaa || !has_address,
        };
        vec![question(false), question(true)]
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
