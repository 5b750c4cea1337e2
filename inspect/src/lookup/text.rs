//! A lookup as text. Pure.

use podlocal_dns::expansion::CandidateResult;
use podlocal_dns::report::words::{counted, duration};
use podlocal_dns::report::{AnsweredBy, CachedFor, Exchange, Report};

use super::{Candidate, Document};
use crate::paint::{BAD, DOUBTFUL, FAINT, GOOD, STRONG, paint};

/// The whole page; `trace` adds every step.
pub fn page(document: &Document, trace: bool) -> String {
    let Document { name, types, search, ndots, source, notes, candidates, not_tried, .. } = document;
    let mut out = String::new();
    for note in notes {
        out.push_str(&format!("{} {note}\n\n", paint(DOUBTFUL, "note:")));
    }
    let search =
        if search.is_empty() { "no search list".to_owned() } else { format!("search {}", search.join(" ")) };
    let head = paint(STRONG, format!("{name} {}", types.join(" ")));
    out.push_str(&format!(
        "{head}  {}\n\n",
        paint(FAINT, format!("({search}; ndots {ndots}; from {source})"))
    ));
    for (number, Candidate { name, queries }) in (1..).zip(candidates) {
        out.push_str(&format!("{number}. {}\n", paint(STRONG, name)));
        for report in queries {
            push_report(report, trace, &mut out);
        }
    }
    if !not_tried.is_empty() {
        let line = format!("not tried: {}", not_tried.join(" "));
        out.push_str(&format!("   {}\n", paint(FAINT, line)));
    }
    out.push_str(&format!("\n{}\n", result_line(document)));
    out
}

/// Appends one query: the answer with its source, the records, the steps.
fn push_report(report: &Report, trace: bool, out: &mut String) {
    let Report { rtype, rcode, answers, more_answers, answered_by, steps, .. } = report;
    let has_records = !answers.is_empty() || *more_answers > 0;
    let (status, tone) = match (rcode.as_str(), has_records) {
        ("NOERROR", true) => ("NOERROR", GOOD),
        ("NOERROR", false) => ("NODATA", DOUBTFUL),
        ("NXDOMAIN", _) => ("NXDOMAIN", DOUBTFUL),
        (rcode, _) => (rcode, BAD),
    };
    let status = paint(tone, format!("{status:<10}"));
    out.push_str(&format!("   {rtype:<6}{status}{}\n", answered_by_text(answered_by)));
    for answer in answers {
        let is_other = answer.rtype != *rtype;
        let data = if is_other { format!("{} {}", answer.rtype, answer.data) } else { answer.data.clone() };
        out.push_str(&format!("         {data}, TTL {}\n", answer.ttl_s));
    }
    if *more_answers > 0 {
        out.push_str(&format!("         and {more_answers} more\n"));
    }
    for step in steps.iter().filter(|_| trace) {
        let line = format!("{:>9}  {}", format!("+{}", duration(step.at_us)), step.text);
        out.push_str(&format!("         {}\n", paint(FAINT, line)));
    }
}

/// The source of an answer as a phrase.
fn answered_by_text(answered_by: &AnsweredBy) -> String {
    match answered_by {
        AnsweredBy::Rule { rule, reason } => format!("rule {rule}: {reason}"),
        AnsweredBy::Cache { age_s, remaining_s, cached_for } => {
            let scope = match cached_for {
                CachedFor::Question => "",
                CachedFor::EveryType => ", for every record type",
                CachedFor::SearchList => ", result of the search list",
            };
            format!("cache, {age_s} s old, expires in {remaining_s} s{scope}")
        }
        AnsweredBy::Expired { age_s, expired_for_s, reason } => {
            format!("expired answer, {age_s} s old, expired {expired_for_s} s ago: {reason}")
        }
        AnsweredBy::Upstream(exchange) => upstream_text(exchange),
        AnsweredBy::SearchList { name, is_coalesced } => {
            format!("search list, tried by the sidecar: {name}{}", coalesced_text(*is_coalesced))
        }
        AnsweredBy::ConcurrentQuery { is_coalesced } => {
            format!("answer of another query that was in flight{}", coalesced_text(*is_coalesced))
        }
        AnsweredBy::None { reason } => format!("no answer: {reason}"),
    }
}

fn coalesced_text(is_coalesced: bool) -> &'static str {
    if is_coalesced { "; coalesced with another client's query" } else { "" }
}

fn upstream_text(exchange: &Exchange) -> String {
    let Exchange { server, transport, is_shared_tier, zone, attempts, duration_us, is_coalesced, .. } =
        exchange;
    let group = match zone {
        Some(zone) => format!("forward zone {zone}"),
        None if *is_shared_tier => "shared tier".to_owned(),
        None => "upstream".to_owned(),
    };
    format!(
        "{group} {server} over {}, {}, {}{}",
        transport.to_uppercase(),
        counted((*attempts).into(), "attempt"),
        duration(*duration_us),
        coalesced_text(*is_coalesced)
    )
}

/// The last line: the result that a program gets.
fn result_line(document: &Document) -> String {
    let Document { name, candidates, result, .. } = document;
    let queries: usize = candidates.iter().map(|candidate| candidate.queries.len()).sum();
    let total_us: u64 = candidates
        .iter()
        .map(|candidate| candidate.queries.iter().map(|report| report.duration_us).max().unwrap_or_default())
        .sum();
    let cost = format!(
        "{}, {}, {}",
        counted(candidates.len() as u64, "candidate"),
        counted(queries as u64, "query"),
        duration(total_us)
    );
    let (text, tone) = match result {
        CandidateResult::Record => {
            let found = candidates.last().map_or("", |candidate| candidate.name.as_str());
            (format!("found as {found}"), GOOD)
        }
        CandidateResult::NoData => {
            ("exists, but has no record of this type (EAI_NODATA)".to_owned(), DOUBTFUL)
        }
        CandidateResult::NoName => ("does not exist (EAI_NONAME)".to_owned(), BAD),
        CandidateResult::Failure => ("no answer for now (EAI_AGAIN)".to_owned(), BAD),
        CandidateResult::Refusal => ("the C library gives up (EAI_FAIL)".to_owned(), BAD),
    };
    format!("{name}: {} after {cost}", paint(tone, text))
}
