//! What a C library asks for when a program looks for a name: the search ladder. Pure.
//!
//! glibc's rules (`__res_context_search` in `resolv/res_query.c`; resolv.conf(5)). "Dots" are those inside the name.
//!
//! | the name | the candidates, in order |
//! |---|---|
//! | ends in a dot | itself alone |
//! | has `ndots` dots or more | itself, then below each domain of the search list |
//! | has fewer | below each domain of the search list, then itself |
//!
//! | a candidate brings, of all that it was asked for | then |
//! |---|---|
//! | a record that was asked for | found: the ladder ends |
//! | NXDOMAIN, NODATA or SERVFAIL | the next one is tried |
//! | anything else, below a domain | the name as it is alone is still tried |
//! | anything else, as it is | the next one is tried |
//!
//! | no candidate brought a record | the program is told |
//! |---|---|
//! | the name was tried first as it is | what became of that |
//! | one below a domain exists, without such a record | NODATA |
//! | one below a domain failed | try again |
//! | otherwise | what became of the last |
//!
//! musl differs: it never expands a name of `ndots` dots, and ends at anything but NXDOMAIN.

use std::net::IpAddr;

use crate::wire;

/// What `resolv.conf` says of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom the C library asks, in order.
    pub nameservers: Vec<IpAddr>,
    /// The search list.
    pub search: Vec<String>,
    /// From how many dots on a name is asked as it is first.
    pub ndots: usize,
}

/// glibc's bound of `ndots` (`RES_MAXNDOTS`).
const MOST_NDOTS: usize = 15;

impl ResolvConf {
    /// Reads the text of a `resolv.conf`: of `search` and `domain` lines the last one counts.
    pub fn parse(text: &str) -> Self {
        let mut read = Self { nameservers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    read.nameservers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search") => read.search = words.map(str::to_owned).collect(),
                Some("domain") => read.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words
                        .filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok())
                        .next_back();
                    read.ndots = ndots.map_or(read.ndots, |ndots| ndots.min(MOST_NDOTS));
                }
                _ => {}
            }
        }
        read
    }
}

/// The candidates for a name, each from the root on, with its final dot. What would be too long is left out.
pub fn candidates(name: &str, search: &[String], ndots: usize) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let as_it_is = format!("{name}.");
    let below = |domain: &String| match domain.trim_matches('.') {
        "" => as_it_is.clone(),
        domain => format!("{name}.{domain}."),
    };
    let mut ladder: Vec<_> = search.iter().map(below).collect();
    if name.matches('.').count() >= ndots {
        ladder.insert(0, as_it_is);
    } else if !ladder.contains(&as_it_is) {
        ladder.push(as_it_is);
    }
    ladder.retain(|candidate| wire::name_from_text(candidate).is_some());
    ladder
}

/// What one question of a candidate brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brought {
    /// There is no such name.
    NoName,
    /// The name exists, without a record of that type.
    NoData,
    /// SERVFAIL.
    Failure,
    /// An RCODE at which the C library gives up.
    Refusal,
    /// A record.
    Record,
}

impl Brought {
    /// Of an answer with that RCODE, and records or none.
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

/// What a candidate has brought, of what each of its questions did.
pub fn together(brought: &[Brought]) -> Brought {
    brought.iter().copied().max().unwrap_or(Brought::NoName)
}

/// What is still tried of the candidates that are left, and what is not, when the one that was asked brought that.
pub fn onwards(
    brought: Brought,
    asked: &str,
    as_it_is: &str,
    left: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    match brought {
        Brought::Record => (Vec::new(), left),
        Brought::Refusal if asked != as_it_is => {
            left.into_iter().partition(|candidate| candidate == as_it_is)
        }
        _ => (left, Vec::new()),
    }
}

/// What the program is told in the end, when each candidate that was tried brought that. `is_first` when the first was the
/// name as it is.
pub fn end(brought: &[Brought], is_first: bool) -> Brought {
    match brought {
        [.., Brought::Record] => Brought::Record,
        [first, ..] if is_first => *first,
        [below @ .., _] if below.contains(&Brought::NoData) => Brought::NoData,
        [below @ .., _] if below.contains(&Brought::Failure) => Brought::Failure,
        [.., last] => *last,
        [] => Brought::NoName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_candidates_are_those_of_the_table() {
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
        assert_eq!(candidates(&long, &search, 1), [format!("{long}.")], "what is too long is left out");
    }

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let text = "# written by the kubelet\nnameserver 127.0.0.1\nnameserver ::1\nnameserver x\ndomain d\n\
                    search n.svc.k svc.k\n; no\noptions edns0 ndots:2\noptions ndots:99\n";
        let read = ResolvConf::parse(text);
        let local = ["127.0.0.1", "::1"].map(|text| text.parse().expect("an address"));
        assert_eq!(
            read,
            ResolvConf { nameservers: local.to_vec(), search: list(&["n.svc.k", "svc.k"]), ndots: 15 }
        );
        assert_eq!(ResolvConf::parse(""), ResolvConf { nameservers: vec![], search: vec![], ndots: 1 });
    }

    #[test]
    fn what_a_candidate_brings_is_the_best_of_its_questions() {
        use Brought::{Failure, NoData, NoName, Record, Refusal};
        let table = [
            (vec![Record, NoData], Record),
            (vec![NoData, Record], Record),
            (vec![Failure, Record], Record),
            (vec![NoName, NoName], NoName),
            (vec![NoData, NoName], NoData),
            (vec![NoData, Failure], Failure),
            (vec![Refusal, NoData], Refusal),
        ];
        for (brought, expected) in table {
            assert_eq!(together(&brought), expected, "{brought:?}");
        }
        for (rcode, has_records, expected) in [
            ("NOERROR", true, Record),
            ("NOERROR", false, NoData),
            ("NXDOMAIN", true, NoName),
            ("SERVFAIL", false, Failure),
            ("NOTIMP", false, Refusal),
            ("none", false, Refusal),
        ] {
            assert_eq!(Brought::of(rcode, has_records), expected, "{rcode}");
        }
    }

    #[test]
    fn what_the_program_is_told_in_the_end() {
        use Brought::{Failure, NoData, NoName, Record, Refusal};
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
        for (brought, is_first, expected) in table {
            assert_eq!(end(&brought, is_first), expected, "{brought:?} {is_first}");
        }
    }

    #[test]
    fn a_refusal_below_a_domain_leaves_the_name_as_it_is() {
        let left = || list(&["db.k.", "db."]);
        let table = [
            (Brought::Record, "db.n.k.", vec![], left()),
            (Brought::Refusal, "db.n.k.", list(&["db."]), list(&["db.k."])),
            (Brought::Refusal, "db.", left(), vec![]),
            (Brought::NoName, "db.n.k.", left(), vec![]),
            (Brought::NoData, "db.n.k.", left(), vec![]),
            (Brought::Failure, "db.n.k.", left(), vec![]),
        ];
        for (brought, asked, still, not) in table {
            assert_eq!(onwards(brought, asked, "db.", left()), (still, not), "{brought:?} {asked}");
        }
    }
}
