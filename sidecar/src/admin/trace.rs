//! Turns the trace of a lookup into a [`Report`].

use hickory_proto::op::Message as Decoded;
use hickory_proto::rr::rdata::{CNAME, NS, PTR};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;
use podlocal_dns::key::Key;
use podlocal_dns::report::target::rtype_text;
use podlocal_dns::report::{Answer, AnsweredBy, Exchange, Report};
use podlocal_dns::wire::{Message, NameText, Rcode};

use crate::flight::Role;
use crate::limits;
use crate::metrics::{AttemptResult, Outcome};
use crate::resolver::explain::{Found, QuestionStatus};
use crate::resolver::{Resolution, Resolver};
use crate::server::explain::ExplainedQuery;
use crate::upstream::Servers;
use crate::upstream::observers::ObservedEvent;

use history::{exchanges, steps};

mod history;

/// Everything that was observed while a query was answered.
#[derive(Debug)]
pub(super) struct LookupTrace<'a> {
    pub(super) key: &'a Key,
    pub(super) explained: &'a ExplainedQuery,
    /// Knows the servers.
    pub(super) resolver: &'a Resolver<Servers>,
    /// The events in that time, in order, of all exchanges on which the answer may depend.
    pub(super) events: &'a [ObservedEvent],
    /// The status of the question after the query.
    pub(super) after: &'a QuestionStatus,
    /// The status after the query of the names of the search expansion, in order, if the sidecar did one.
    pub(super) walked: &'a [(Key, QuestionStatus)],
}

/// Makes the report.
pub(super) fn build_report(trace: &LookupTrace<'_>) -> Report {
    let LookupTrace { key, explained, .. } = trace;
    let exchanges = exchanges(trace);
    let decoded = Decoded::from_vec(&explained.answer).ok();
    let records = decoded.as_ref().map_or(&[][..], |message| &message.answers);
    let answers: Vec<_> = records.iter().take(limits::REPORTED_RECORDS).map(answer).collect();
    // Also where the decoder refuses the data of a record.
    let [count, ..] = Message::new(&explained.answer).map_or([0; 3], Message::record_counts).map(usize::from);
    Report {
        name: NameText(key.name()).to_string(),
        rtype: rtype_text(key.type_and_class().0),
        rcode: rcode_text(&explained.answer),
        more_answers: count.saturating_sub(answers.len()),
        answers,
        outcome: explained.outcome.label().to_owned(),
        answered_by: answered_by(trace, records, &exchanges),
        duration_us: micros(explained.duration),
        steps: steps(trace),
        exchanges,
    }
}

fn answered_by(trace: &LookupTrace<'_>, records: &[Record], exchanges: &[Exchange]) -> AnsweredBy {
    let LookupTrace { key, explained, after, .. } = trace;
    let now = explained.started.into_std();
    let found = explained.status.as_ref().and_then(|status| status.found.as_ref());
    match (&explained.waited, found) {
        (None, Some(Found::Cached(entry, place))) => AnsweredBy::Cache {
            age_s: entry.age(now),
            remaining_s: entry.seconds().saturating_sub(entry.age(now)),
            cached_for: *place,
        },
        (None, Some(Found::Ruled(rule))) => {
            AnsweredBy::Rule { rule: rule.to_string(), reason: rule.because().to_owned() }
        }
        (None, None) => match explained.outcome {
            Outcome::Hit | Outcome::ImpossibleName | Outcome::NxdomainCut => {
                AnsweredBy::ConcurrentQuery { is_coalesced: false }
            }
            outcome => AnsweredBy::None { reason: refusal_reason(outcome).to_owned() },
        },
        (Some(Resolution::Fresh(_, role)), _) => {
            let is_coalesced = *role == Role::Coalesced;
            let name = NameText(key.name()).to_string();
            let rtype = rtype_text(key.type_and_class().0);
            let own = exchanges.iter().rfind(|exchange| exchange.name == name && exchange.rtype == rtype);
            if let Some(name) = expanded_name(trace, records) {
                AnsweredBy::SearchList { name, is_coalesced }
            } else if let Some(own) = own {
                AnsweredBy::Upstream(own.clone())
            } else if let Some(Found::Ruled(rule)) = &after.found {
                AnsweredBy::Rule { rule: rule.to_string(), reason: rule.because().to_owned() }
            } else {
                AnsweredBy::ConcurrentQuery { is_coalesced }
            }
        }
        (Some(Resolution::Stale(entry)), _) => {
            let age_s = entry.age(now);
            let expired_for_s = age_s.saturating_sub(entry.seconds());
            AnsweredBy::Expired { age_s, expired_for_s, reason: stale_reason(explained).to_owned() }
        }
        (Some(Resolution::Failed(_)), _) => AnsweredBy::None { reason: failure_reason(explained, exchanges) },
    }
}

/// The name from the search expansion that gave the answer, if one did.
fn expanded_name(trace: &LookupTrace<'_>, records: &[Record]) -> Option<String> {
    let text = |(key, _): &(Key, QuestionStatus)| NameText(key.name()).to_string();
    let target = match records.first().map(|record| &record.data) {
        Some(RData::CNAME(target)) => target.0.to_ascii(),
        Some(_) => return None,
        // NODATA: the name exists, but has no record of this type.
        None => return trace.walked.last().filter(|(_, status)| status.exists()).map(text),
    };
    let mut others = trace.walked.iter().map(text);
    others.find(|name| name.trim_end_matches('.').eq_ignore_ascii_case(target.trim_end_matches('.')))
}

fn stale_reason(explained: &ExplainedQuery) -> &'static str {
    let status = explained.status.as_ref();
    if status.is_some_and(|status| status.is_upstream_down) {
        "no upstream is known to answer"
    } else if explained.duration >= limits::STALE_AFTER {
        "the upstream did not answer within 400 ms"
    } else if status.is_some_and(|status| status.is_in_flight) {
        "the answer of an exchange in flight is late"
    } else {
        "the upstream failed"
    }
}

fn refusal_reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Loop => "the proxy received its own query: the upstream leads back to the proxy",
        Outcome::OverLimit => "a limit was reached; `stats` shows which one",
        Outcome::HealthCheck => "the upstream does not respond, and health checks of other proxies fail",
        _ => "the proxy does not answer queries of this kind",
    }
}

fn failure_reason(explained: &ExplainedQuery, exchanges: &[Exchange]) -> String {
    if explained.outcome == Outcome::OverLimit {
        return refusal_reason(Outcome::OverLimit).to_owned();
    }
    match exchanges.last() {
        Some(exchange) if exchange.result == AttemptResult::Failure.label() => {
            format!("{} responded SERVFAIL, REFUSED or another error", exchange.server)
        }
        Some(exchange) if exchange.result == AttemptResult::NegativeIgnored.label() => {
            format!(
                "the upstream does not respond, and the answer of the backup server {} that the name does not exist is \
                 ignored",
                exchange.server
            )
        }
        Some(exchange) => {
            format!(
                "no server answered in time; the last of {} attempts was at {}",
                exchange.attempts, exchange.server
            )
        }
        None if explained.status.as_ref().is_some_and(|status| status.has_failed_lately) => {
            "an upstream query failed less than 2 s ago; the failure is cached for 2 s".to_owned()
        }
        None => "the exchange ended without an answer".to_owned(),
    }
}

fn answer(record: &Record) -> Answer {
    Answer {
        name: name(&record.name),
        ttl_s: record.ttl,
        rtype: rtype_text(record.record_type().into()),
        data: data(&record.data),
    }
}

/// A name with everything escaped that is not printable ASCII (RFC 1035 section 5.1), and with punycode as it
/// is: the owner of a zone must not be able to control the operator's terminal.
fn name(name: &Name) -> String {
    NameText(&name.to_bytes().unwrap_or_default()).to_string()
}

/// A character string in quotes, escaped like a name (RFC 1035 section 5.1).
fn quoted(text: &[u8]) -> String {
    let escaped = text.iter().map(|byte| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\{byte:03}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The data in the presentation format of master files for the usual types, and in the generic format of RFC
/// 3597 section 5 for all others. The format of every type would make the program larger than it is worth.
fn data(data: &RData) -> String {
    match data {
        RData::A(data) => data.to_string(),
        RData::AAAA(data) => data.to_string(),
        RData::CNAME(CNAME(data)) | RData::NS(NS(data)) | RData::PTR(PTR(data)) => name(data),
        RData::MX(data) => format!("{} {}", data.preference, name(&data.exchange)),
        RData::SOA(data) => {
            let (server, mailbox) = (name(&data.mname), name(&data.rname));
            let numbers = format!("{} {} {} {}", data.serial, data.refresh, data.retry, data.expire);
            format!("{server} {mailbox} {numbers} {}", data.minimum)
        }
        RData::SRV(data) => {
            format!("{} {} {} {}", data.priority, data.weight, data.port, name(&data.target))
        }
        RData::TXT(data) => {
            let texts: Vec<_> = data.txt_data.iter().map(|text| quoted(text)).collect();
            texts.join(" ")
        }
        other => {
            let bytes = other.to_bytes().unwrap_or_default();
            let mut text = format!("\\# {} ", bytes.len());
            for byte in bytes {
                text.push_str(&format!("{byte:02x}"));
            }
            text
        }
    }
}

/// The name of the RCODE in the registry of IANA.
fn rcode_text(answer: &[u8]) -> String {
    let Some(message) = Message::new(answer) else { return "none".to_owned() };
    match message.flags().rcode() {
        Rcode::NO_ERROR => "NOERROR".to_owned(),
        Rcode::FORMERR => "FORMERR".to_owned(),
        Rcode::SERVFAIL => "SERVFAIL".to_owned(),
        Rcode::NXDOMAIN => "NXDOMAIN".to_owned(),
        Rcode::NOTIMP => "NOTIMP".to_owned(),
        Rcode::REFUSED => "REFUSED".to_owned(),
        Rcode(number) => format!("RCODE{number}"),
    }
}

pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, NULL, TXT};

    #[test]
    fn control_characters_of_a_zone_are_escaped() {
        let hostile = b"a\"\\ \x1b]0;t\x07\r\n\xc2\x9b\x7f".as_slice();
        let shown = data(&RData::TXT(TXT::from_bytes(vec![hostile, b"b"])));
        assert_eq!(shown, r#""a\"\\ \027]0;t\007\013\010\194\155\127" "b""#);
        let name = Name::from_labels([b"\x1b[2J".as_slice(), b"xn--80ak6aa92e", b"com"]).expect("a name");
        assert_eq!(data(&RData::CNAME(CNAME(name))), r"\027[2J.xn--80ak6aa92e.com.");
    }

    #[test]
    fn rfc3597_5_data_of_rare_types_is_shown_as_bytes() {
        assert_eq!(data(&RData::A(A::new(10, 0, 0, 1))), "10.0.0.1");
        assert_eq!(data(&RData::NULL(NULL::with(vec![0xff, 0, 7]))), "\\# 3 ff0007");
    }
}
