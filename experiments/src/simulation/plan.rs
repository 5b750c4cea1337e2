//! The queries that a pod sends for the three names of the experiment's Job, in order, by the rules of the C
//! library and of the sidecar ([`podlocal_dns::search`]).

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::search::{Ancestors, Candidate, First, Search, Verdict};
use podlocal_dns::wire::{self, CLASS_IN, Flags, TYPE_A};
use podlocal_settings::Settings;

use super::Arm;

/// A question: name and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// The index of the name among all names of the plan.
    name: usize,
    /// Whether the type is AAAA; otherwise A.
    is_aaaa: bool,
    /// Whether the name is in the cluster domain.
    in_cluster: bool,
    /// Whether the answer is NXDOMAIN or NODATA.
    pub(super) is_negative: bool,
}

impl Question {
    /// The time for which a sidecar caches the answer: 5 s for a negative answer in the cluster domain,
    /// otherwise the 30 s of CoreDNS's `ttl 30` and `cache 30`.
    pub(super) fn ttl(self) -> Duration {
        Duration::from_secs(if self.is_negative && self.in_cluster { 5 } else { 30 })
    }
}

/// The queries that are sent at the same time; the next step follows when all are answered.
pub(super) type Step = Vec<Question>;

/// The names that a pod looks up.
const NAMES: [&str; 3] = ["kubernetes.default", "api.example.com", "missing.example.com"];

/// The absolute names that have an address, of type A.
const EXISTING: [&str; 2] = ["kubernetes.default.svc.cluster.local.", "api.example.com."];

/// The steps of each lookup, one lookup after the other.
///
/// | arm | `kubernetes.default` | `api.example.com` | `missing.example.com` | in all |
/// |---|---|---|---|---|
/// | `ndots:5` | 2 candidates, A and AAAA | 3 that do not exist, and itself | the same 4 | 20 |
/// | `ndots:2` | 2 candidates | itself | itself, and 3 | 14 |
/// | sidecar, with or without the tier | one question for the first, 2 for the second | the namespace `com`, and 2 | 2; the namespace is in the cache | 8 |
///
/// The sidecar answers AAAA of a name with two labels below a namespace by the answer to A. For a name that it
/// expands, it queries the candidates first, and the name itself after 200 ms at the latest. Here it queries
/// all at the same time, as it does while cluster DNS is slow. No candidate of these names exists.
pub(super) fn plan(arm: Arm) -> Rc<[Vec<Step>]> {
    let ndots = if arm == Arm::Direct { 5 } else { 2 };
    let namespace = Some("default".to_owned());
    let search = Search::new(&Settings { ndots, namespace, ..Settings::defaults() });
    let mut names = Names { search: &search, names: Vec::new() };
    NAMES.map(|text| names.steps(text, arm)).into()
}

/// The number of different questions of a pod.
pub fn questions(arm: Arm) -> u32 {
    plan(arm).iter().flatten().flatten().collect::<HashSet<_>>().len() as u32
}

/// Numbers the names of questions.
struct Names<'a> {
    search: &'a Search,
    /// The names of all questions so far.
    names: Vec<Vec<u8>>,
}

impl Names<'_> {
    /// The candidates for a name, until one exists, each with the queries to cluster DNS.
    fn steps(&mut self, text: &str, arm: Arm) -> Vec<Step> {
        let mut steps = Vec::new();
        for name in self.search.search_names(text) {
            let [a, aaaa] = self.both(&name);
            let key = Key::new(&wire::question(&name, TYPE_A, CLASS_IN), Flags(Flags::RD), false);
            let verdict = if arm.has_sidecars() { self.search.verdict(&key) } else { Verdict::Ask };
            match verdict {
                Verdict::Impossible(_) => {}
                // The namespace was queried, and does not exist.
                Verdict::Below(Ancestors { namespace: Some(namespace), .. })
                    if self.names.iter().any(|known| known == namespace) => {}
                Verdict::Below(Ancestors { service: Some(_), .. }) if a.is_negative => steps.push(vec![a]),
                Verdict::Complete => {
                    let candidates = self.search.candidates(&name).into_iter();
                    let first: Step = candidates.flat_map(|candidate| self.first(&candidate)).collect();
                    steps.push([first, vec![a, aaaa]].concat());
                }
                _ => steps.push(vec![a, aaaa]),
            }
            if !a.is_negative {
                break;
            }
        }
        steps
    }

    /// The queries by which the sidecar finds out that a candidate does not exist.
    fn first(&mut self, Candidate { name, first }: &Candidate) -> Step {
        match first {
            First::Own => self.both(name).into(),
            First::Address => self.both(name).into_iter().take(1).collect(),
            First::Namespace(namespace) => self.both(namespace).into_iter().take(1).collect(),
        }
    }

    /// A and AAAA of a name.
    fn both(&mut self, name: &[u8]) -> [Question; 2] {
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or(self.names.len());
        if known.is_none() {
            self.names.push(name.to_vec());
        }
        let exists = EXISTING.iter().any(|text| wire::name_from_text(text).as_deref() == Some(name));
        let in_cluster = self.search.zone_at(name).is_some();
        [false, true].map(|is_aaaa| Question {
            name: index,
            is_aaaa,
            in_cluster,
            is_negative: is_aaaa || !exists,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_asks_as_often_as_the_table_says() {
        assert_eq!(Arm::ALL.map(questions), [20, 14, 8, 8, 8]);
    }
}
