use podlocal_dns::report::{Answer, Step};

use super::*;

fn report(rtype: &str, rcode: &str, data: &[&str], answered_by: AnsweredBy) -> Report {
    let answer = |data: &&str| Answer {
        name: "db.n.svc.k.".to_owned(),
        ttl_s: 30,
        rtype: if data.ends_with('.') { "CNAME".to_owned() } else { rtype.to_owned() },
        data: (*data).to_owned(),
    };
    Report {
        name: "db.n.svc.k.".to_owned(),
        rtype: rtype.to_owned(),
        rcode: rcode.to_owned(),
        answers: data.iter().map(answer).collect(),
        more_answers: 0,
        outcome: "miss".to_owned(),
        answered_by,
        duration_us: 1250,
        exchanges: Vec::new(),
        steps: vec![
            Step { at_us: 0, text: "cache: nothing".to_owned() },
            Step { at_us: 12_345, text: "outcome: miss".to_owned() },
        ],
    }
}

fn exchange(is_shared_tier: bool, attempts: u32, is_coalesced: bool) -> Exchange {
    Exchange {
        name: "db.n.svc.k.".to_owned(),
        rtype: "A".to_owned(),
        server: "10.96.0.10:53".to_owned(),
        transport: "tcp".to_owned(),
        is_shared_tier,
        zone: None,
        result: "answer".to_owned(),
        attempts,
        duration_us: 301_200,
        is_coalesced,
    }
}

fn document(candidates: Vec<Candidate>, result: LookupResult) -> Document {
    Document {
        name: "db".to_owned(),
        types: vec!["A".to_owned(), "AAAA".to_owned()],
        version: "0.1.0".to_owned(),
        search: vec!["n.svc.k".to_owned(), "svc.k".to_owned()],
        ndots: 2,
        source: "/etc/resolv.conf".to_owned(),
        notes: Vec::new(),
        candidates,
        not_tried: Vec::new(),
        result,
    }
}

#[test]
fn a_found_name_shows_its_source_and_the_candidates_not_tried() {
    let queries = vec![
        report(
            "A",
            "NOERROR",
            &["other.n.svc.k.", "10.96.0.1"],
            AnsweredBy::Upstream(exchange(true, 2, true)),
        ),
        report(
            "AAAA",
            "NOERROR",
            &[],
            AnsweredBy::Cache { age_s: 3, remaining_s: 27, cached_for: CachedFor::Question },
        ),
    ];
    let mut document =
        document(vec![Candidate { name: "db.n.svc.k.".to_owned(), queries }], LookupResult::Found);
    document.not_tried = vec!["db.svc.k.".to_owned(), "db.".to_owned()];
    let expected = "\
db A AAAA  (search n.svc.k svc.k; ndots 2; from /etc/resolv.conf)

1. db.n.svc.k.
   A     NOERROR   shared tier 10.96.0.10:53 over TCP, 2 attempts, 301 ms; coalesced with another client's query
         CNAME other.n.svc.k., TTL 30
         10.96.0.1, TTL 30
   AAAA  NODATA    cache, 3 s old, expires in 27 s
   not tried: db.svc.k. db.

db: found as db.n.svc.k. after 1 candidate, 2 queries, 1.2 ms
";
    assert_eq!(page(&document, false, Paint::NONE), expected);
}

#[test]
fn every_source_of_an_answer_has_a_phrase() {
    let table = [
        (AnsweredBy::Rule { rule: "R1".to_owned(), reason: "so".to_owned() }, "rule R1: so"),
        (
            AnsweredBy::Cache { age_s: 1, remaining_s: 2, cached_for: CachedFor::EveryType },
            "cache, 1 s old, expires in 2 s, for every record type",
        ),
        (
            AnsweredBy::Cache { age_s: 1, remaining_s: 2, cached_for: CachedFor::SearchList },
            "cache, 1 s old, expires in 2 s, result of the search list",
        ),
        (
            AnsweredBy::Expired { age_s: 62, expired_for_s: 2, reason: "so".to_owned() },
            "expired answer, 62 s old, expired 2 s ago: so",
        ),
        (
            AnsweredBy::Upstream(exchange(false, 1, false)),
            "upstream 10.96.0.10:53 over TCP, 1 attempt, 301 ms",
        ),
        (
            AnsweredBy::Upstream(Exchange { zone: Some("consul.".to_owned()), ..exchange(false, 1, false) }),
            "forward zone consul. 10.96.0.10:53 over TCP, 1 attempt, 301 ms",
        ),
        (
            AnsweredBy::SearchList { name: "a.k.".to_owned(), is_coalesced: false },
            "search list, tried by the sidecar: a.k.",
        ),
        (
            AnsweredBy::ConcurrentQuery { is_coalesced: true },
            "answer of another query that was in flight; coalesced with another client's query",
        ),
        (AnsweredBy::None { reason: "so".to_owned() }, "no answer: so"),
    ];
    for (answered_by, phrase) in table {
        assert_eq!(answered_by_text(&answered_by), phrase);
    }
}

#[test]
fn the_result_is_that_of_getaddrinfo() {
    for (result, phrase) in [
        (LookupResult::NoName, "db: does not exist (EAI_NONAME) after 0 candidates, 0 queries, 0.0 ms\n"),
        (LookupResult::NoData, "db: exists, but has no record of this type (EAI_NODATA) after"),
        (LookupResult::TryAgain, "db: no answer for now (EAI_AGAIN) after"),
        (LookupResult::Failed, "db: the C library gives up (EAI_FAIL) after"),
    ] {
        assert!(page(&document(Vec::new(), result), false, Paint::NONE).contains(phrase), "{phrase}");
    }
}

#[test]
fn a_trace_shows_every_step_and_begins_with_the_notes() {
    let failed = report("A", "SERVFAIL", &[], AnsweredBy::None { reason: "so".to_owned() });
    let mut document =
        document(vec![Candidate { name: "db.".to_owned(), queries: vec![failed] }], LookupResult::TryAgain);
    document.notes = vec!["something is unusual".to_owned()];
    document.search = Vec::new();
    let expected = "\
note: something is unusual

db A AAAA  (no search list; ndots 2; from /etc/resolv.conf)

1. db.
   A     SERVFAIL  no answer: so
           +0.0 ms  cache: nothing
            +12 ms  outcome: miss

db: no answer for now (EAI_AGAIN) after 1 candidate, 1 query, 1.2 ms
";
    assert_eq!(page(&document, true, Paint::NONE), expected);
}
