//! The document of `lookup` as text. Pure.

use super::{Candidate, Document, End};
use crate::paint::{Paint, Tone, counted, duration};
use crate::report::{By, Exchange, Place, Report};

/// The whole page, with every step if `trace`.
pub fn page(document: &Document, trace: bool, paint: Paint) -> String {
    let Document { name, types, search, ndots, from, notes, candidates, not_asked, .. } = document;
    let mut out = String::new();
    for note in notes {
        out.push_str(&format!("{} {note}\n\n", paint.put(Tone::Doubtful, "note:")));
    }
    let search =
        if search.is_empty() { "no search list".to_owned() } else { format!("search {}", search.join(" ")) };
    let head = paint.put(Tone::Strong, format!("{name} {}", types.join(" ")));
    out.push_str(&format!(
        "{head}  {}\n\n",
        paint.put(Tone::Faint, format!("({search}; ndots {ndots}; from {from})"))
    ));
    for (number, Candidate { name, questions }) in (1..).zip(candidates) {
        out.push_str(&format!("{number}. {}\n", paint.put(Tone::Strong, name)));
        for report in questions {
            question(report, trace, paint, &mut out);
        }
    }
    if !not_asked.is_empty() {
        let line = format!("not asked: {}", not_asked.join(" "));
        out.push_str(&format!("   {}\n", paint.put(Tone::Faint, line)));
    }
    out.push_str(&format!("\n{}\n", end(document, paint)));
    out
}

/// One query: its answer and the source of the answer; the records; the steps.
fn question(report: &Report, trace: bool, paint: Paint, out: &mut String) {
    let Report { kind, rcode, answers, more_answers, by, steps, .. } = report;
    let has_records = !answers.is_empty() || *more_answers > 0;
    let (said, tone) = match (rcode.as_str(), has_records) {
        ("NOERROR", true) => ("NOERROR", Tone::Good),
        ("NOERROR", false) => ("NODATA", Tone::Doubtful),
        ("NXDOMAIN", _) => ("NXDOMAIN", Tone::Doubtful),
        (rcode, _) => (rcode, Tone::Bad),
    };
    out.push_str(&format!("   {kind:<6}{}{}\n", paint.put(tone, format!("{said:<10}")), source(by)));
    for answer in answers {
        let is_other = answer.kind != *kind;
        let data = if is_other { format!("{} {}", answer.kind, answer.data) } else { answer.data.clone() };
        out.push_str(&format!("         {data}, TTL {}\n", answer.ttl_s));
    }
    if *more_answers > 0 {
        out.push_str(&format!("         and {more_answers} more\n"));
    }
    for step in steps.iter().filter(|_| trace) {
        let line = format!("{:>9}  {}", format!("+{}", duration(step.at_us)), step.what);
        out.push_str(&format!("         {}\n", paint.put(Tone::Faint, line)));
    }
}

/// The source of the answer, as a phrase.
fn source(by: &By) -> String {
    let behind =
        |is_coalesced: &bool| if *is_coalesced { "; coalesced with another client's query" } else { "" };
    match by {
        By::Rule { rule, because } => format!("rule {rule}: {because}"),
        By::Cache { age_s, remaining_s, place } => {
            let of = match place {
                Place::Question => "",
                Place::EveryType => ", holds for every type",
                Place::SearchList => ", result of the search list",
            };
            format!("cache, {age_s} s old, good for {remaining_s} s{of}")
        }
        By::Expired { age_s, expired_for_s, because } => {
            format!("expired answer, {age_s} s old, expired {expired_for_s} s ago: {because}")
        }
        By::Upstream(exchange) => upstream(exchange),
        By::SearchList { name, is_coalesced } => {
            format!("search list, tried by the sidecar: {name}{}", behind(is_coalesced))
        }
        By::ConcurrentQuery { is_coalesced } => {
            format!("answer of another query that was in flight{}", behind(is_coalesced))
        }
        By::None { because } => format!("no answer: {because}"),
    }
}

fn upstream(exchange: &Exchange) -> String {
    let Exchange { server, transport, is_shared_tier, zone, attempts, took_us, is_coalesced, .. } = exchange;
    let whose = match zone {
        Some(zone) => format!("forward zone {zone}"),
        None if *is_shared_tier => "shared tier".to_owned(),
        None => "upstream".to_owned(),
    };
    format!(
        "{whose} {server} over {}, {}, {}{}",
        transport.to_uppercase(),
        counted((*attempts).into(), "attempt"),
        duration(*took_us),
        if *is_coalesced { "; coalesced with another client's query" } else { "" }
    )
}

/// The result that a program gets.
fn end(document: &Document, paint: Paint) -> String {
    let Document { name, candidates, end, .. } = document;
    let questions: usize = candidates.iter().map(|candidate| candidate.questions.len()).sum();
    let took: u64 = candidates
        .iter()
        .map(|candidate| candidate.questions.iter().map(|report| report.took_us).max().unwrap_or_default())
        .sum();
    let cost = format!(
        "{}, {}, {}",
        counted(candidates.len() as u64, "candidate"),
        if questions == 1 { "1 query".to_owned() } else { format!("{questions} queries") },
        duration(took)
    );
    let (said, tone) = match end {
        End::Found => {
            let found = candidates.last().map_or("", |candidate| candidate.name.as_str());
            (format!("found as {found}"), Tone::Good)
        }
        End::NoData => ("exists, but has no record of this type (EAI_NODATA)".to_owned(), Tone::Doubtful),
        End::NoName => ("does not exist (EAI_NONAME)".to_owned(), Tone::Bad),
        End::TryAgain => ("no answer for now (EAI_AGAIN)".to_owned(), Tone::Bad),
        End::Refused => ("the C library gives up (EAI_FAIL)".to_owned(), Tone::Bad),
    };
    format!("{name}: {} after {cost}", paint.put(tone, said))
}

#[cfg(test)]
mod tests;
