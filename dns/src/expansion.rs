//! The search expansion of a C library: which names it queries when a program looks up a name. Pure.
//!
//! These are the rules of glibc (`__res_context_search` in `resolv/res_query.c`; resolv.conf(5)). "Dots" are
//! those inside the name.
//!
//! | the name | the candidates, in order |
//! |---|---|
//! | ends in a dot | only the name itself |
//! | has `ndots` dots or more | the name itself, then the name below each domain of the search list |
//! | has fewer | the name below each domain of the search list, then the name itself |
//!
//! | the best result of a candidate's queries | then |
//! |---|---|
//! | a record of the requested type | found: the search ends |
//! | NXDOMAIN, NODATA or SERVFAIL | the next candidate is tried |
//! | anything else, below a search domain | only the name as it stands is still tried |
//! | anything else, for the name as it stands | the next candidate is tried |
//!
//! | no candidate has a record, and | the program gets |
//! |---|---|
//! | the name as it stands was tried first | the result of that candidate |
//! | a candidate below a search domain exists, without a record of the requested type | NODATA |
//! | a candidate below a search domain failed | a temporary failure |
//! | otherwise | the result of the last candidate |
//!
//! musl differs: it never expands a name with `ndots` dots, and stops at any answer other than NXDOMAIN.

use serde::{Deserialize, Serialize};

use crate::wire;

/// The candidates for a name as absolute names, with the final dot. Candidates that would be too long are
/// left out.
pub fn candidates(name: &str, search: &[String], ndots: usize) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let as_it_stands = format!("{name}.");
    let below = |domain: &String| match domain.trim_matches('.') {
        "" => as_it_stands.clone(),
        domain => format!("{name}.{domain}."),
    };
    let mut candidates: Vec<_> = search.iter().map(below).collect();
    if name.matches('.').count() >= ndots {
        candidates.insert(0, as_it_stands);
    } else if !candidates.contains(&as_it_stands) {
        candidates.push(as_it_stands); // unless the search list has the root
    }
    candidates.retain(|candidate| wire::name_from_text(candidate).is_some());
    candidates
}

/// The result of a query for a candidate, of all its queries, or of the whole expansion; a later variant wins over
/// an earlier one. In a document it is named after what a program gets from getaddrinfo(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateResult {
    /// NXDOMAIN: EAI_NONAME.
    NoName,
    /// The name exists, but has no record of this type: EAI_NODATA.
    NoData,
    /// SERVFAIL: EAI_AGAIN.
    #[serde(rename = "try_again")]
    Failure,
    /// An RCODE after which the C library does not retry: EAI_FAIL.
    #[serde(rename = "failed")]
    Refusal,
    /// A record of the requested type.
    #[serde(rename = "found")]
    Record,
}

impl CandidateResult {
    /// The result for an RCODE, by its name in the registry of IANA.
    pub fn of(rcode: &str, has_records: bool) -> Self {
        match (rcode, has_records) {
            ("NOERROR", true) => Self::Record,
            ("NOERROR", false) => Self::NoData,
            ("NXDOMAIN", _) => Self::NoName,
            ("SERVFAIL", _) => Self::Failure,
            _ => Self::Refusal,
        }
    }
}

/// The result of a candidate from the results of its queries.
pub fn merge(results: &[CandidateResult]) -> CandidateResult {
    results.iter().copied().max().unwrap_or(CandidateResult::NoName)
}

/// Splits the remaining candidates into those that are still tried after the result of `queried`, and those
/// that are not.
pub fn continue_with(
    result: CandidateResult,
    queried: &str,
    as_it_stands: &str,
    remaining: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    match result {
        CandidateResult::Record => (Vec::new(), remaining),
        CandidateResult::Refusal if queried != as_it_stands => {
            remaining.into_iter().partition(|candidate| candidate == as_it_stands)
        }
        _ => (remaining, Vec::new()),
    }
}

/// The result that the program gets from the results of the candidates that were tried. `is_first`: the first
/// candidate was the name as it stands.
pub fn final_result(results: &[CandidateResult], is_first: bool) -> CandidateResult {
    match results {
        [.., CandidateResult::Record] => CandidateResult::Record,
        [first, ..] if is_first => *first,
        [below @ .., _] if below.contains(&CandidateResult::NoData) => CandidateResult::NoData,
        [below @ .., _] if below.contains(&CandidateResult::Failure) => CandidateResult::Failure,
        [.., last] => *last,
        [] => CandidateResult::NoName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn candidates_follow_ndots_and_the_search_list() {
        let search = list(&["n.svc.k", "svc.k", "k"]);
        let table: &[(&str, usize, &[&str])] = &[
            ("db", 5, &["db.n.svc.k.", "db.svc.k.", "db.k.", "db."]),
            ("db.", 5, &["db."]),
            ("api.example.com.", 5, &["api.example.com."]),
            (
                "api.example.com",
                5,
                &[
                    "api.example.com.n.svc.k.",
                    "api.example.com.svc.k.",
                    "api.example.com.k.",
                    "api.example.com.",
                ],
            ),
            (
                "api.example.com",
                2,
                &[
                    "api.example.com.",
                    "api.example.com.n.svc.k.",
                    "api.example.com.svc.k.",
                    "api.example.com.k.",
                ],
            ),
            ("a.b", 2, &["a.b.n.svc.k.", "a.b.svc.k.", "a.b.k.", "a.b."]),
            ("db", 0, &["db.", "db.n.svc.k.", "db.svc.k.", "db.k."]),
        ];
        for (name, ndots, expected) in table {
            assert_eq!(candidates(name, &search, *ndots), *expected, "{name} {ndots}");
        }
        assert_eq!(candidates("db", &[], 5), ["db."]);
        assert_eq!(candidates("db", &list(&[".", "k"]), 5), ["db.", "db.k."], "the root in the list");
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(60));
        assert_eq!(
            candidates(&long, &search, 1),
            [format!("{long}.")],
            "candidates that are too long are left out"
        );
    }

    #[test]
    fn the_best_result_of_its_queries_is_that_of_a_candidate() {
        use CandidateResult::{Failure, NoData, NoName, Record, Refusal};
        let table = [
            (vec![Record, NoData], Record),
            (vec![NoData, Record], Record),
            (vec![Failure, Record], Record),
            (vec![NoName, NoName], NoName),
            (vec![NoData, NoName], NoData),
            (vec![NoData, Failure], Failure),
            (vec![Refusal, NoData], Refusal),
        ];
        for (results, expected) in table {
            assert_eq!(merge(&results), expected, "{results:?}");
        }
        for (rcode, has_records, expected) in [
            ("NOERROR", true, Record),
            ("NOERROR", false, NoData),
            ("NXDOMAIN", true, NoName),
            ("SERVFAIL", false, Failure),
            ("NOTIMP", false, Refusal),
            ("none", false, Refusal),
        ] {
            assert_eq!(CandidateResult::of(rcode, has_records), expected, "{rcode}");
        }
    }

    #[test]
    fn the_final_result_follows_the_rules_of_glibc() {
        use CandidateResult::{Failure, NoData, NoName, Record, Refusal};
        let table = [
            (vec![NoName, Record], false, Record),
            (vec![NoName, Record], true, Record),
            (vec![NoName, NoName], false, NoName),
            (vec![NoName, NoData, NoName], false, NoData),
            (vec![NoName, Failure, NoName], false, Failure),
            (vec![Failure, NoData, NoName], false, NoData),
            (vec![Failure, NoData], false, Failure),
            (vec![NoName, NoData], false, NoData),
            (vec![Refusal, NoName], false, NoName),
            (vec![NoName, NoData], true, NoName),
            (vec![Failure, NoName], true, Failure),
            (vec![NoName, Refusal], false, Refusal),
            (vec![], false, NoName),
        ];
        for (results, is_first, expected) in table {
            assert_eq!(final_result(&results, is_first), expected, "{results:?} {is_first}");
        }
    }

    #[test]
    fn after_a_refusal_only_the_name_as_it_stands_is_tried() {
        let left = || list(&["db.k.", "db."]);
        let table = [
            (CandidateResult::Record, "db.n.k.", vec![], left()),
            (CandidateResult::Refusal, "db.n.k.", list(&["db."]), list(&["db.k."])),
            (CandidateResult::Refusal, "db.", left(), vec![]),
            (CandidateResult::NoName, "db.n.k.", left(), vec![]),
            (CandidateResult::NoData, "db.n.k.", left(), vec![]),
            (CandidateResult::Failure, "db.n.k.", left(), vec![]),
        ];
        for (result, queried, tried, skipped) in table {
            assert_eq!(
                continue_with(result, queried, "db.", left()),
                (tried, skipped),
                "{result:?} {queried}"
            );
        }
    }
}
