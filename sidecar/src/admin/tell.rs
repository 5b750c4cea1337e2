//! What was learnt on the way of a query -> a [`Report`]. Pure: the servers' addresses are looked up by a function.

use std::net::SocketAddr;

use hickory_proto::op::Message as Decoded;
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;

use crate::cache::key::Key;
use crate::flight::Role;
use crate::limits;
use crate::metrics::{AttemptResult, Outcome};
use crate::report::target::kind_text;
use crate::report::{Answer, By, Exchange, Place, Report};
use crate::resolver::explain::{self, Found, Standing};
use crate::server::explain::{Explained, Waited};
use crate::upstream::observers::Noted;
use crate::wire::{Message, NameText, Rcode, Section};

use history::{exchanges, steps};

mod history;

/// What there is to tell from.
#[derive(Debug)]
pub(super) struct Learnt<'a> {
    /// What was asked.
    pub(super) key: &'a Key,
    /// What became of it.
    pub(super) explained: &'a Explained,
    /// What exchanges did meanwhile, those for other questions included.
    pub(super) noted: &'a [Noted],
    /// The questions on which this one may depend.
    pub(super) related: &'a [Key],
    /// What is known of the question now.
    pub(super) after: &'a Standing,
    /// What is known now of the names that the search list makes of it, in order, where that was tried.
    pub(super) walked: &'a [(Key, Standing)],
}

/// A server that was asked.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its address.
    pub(super) address: SocketAddr,
    /// Whether it is of the shared tier.
    pub(super) tier: bool,
    /// The forward zone whose server it is, if it is one.
    pub(super) zone: Option<String>,
}

/// Tells it; `server` knows the servers that are asked a question, by their place.
pub(super) fn tell(learnt: &Learnt<'_>, server: impl Fn(&Key, usize) -> Option<Server>) -> Report {
    let Learnt { key, explained, .. } = learnt;
    let (kind, _) = key.type_and_class();
    let exchanges = exchanges(learnt, &server);
    let mut report = Report {
        name: NameText(key.name()).to_string(),
        kind: kind_text(kind),
        rcode: rcode_text(&explained.answer),
        answers: Vec::new(),
        more_answers: 0,
        outcome: explained.outcome.name().to_owned(),
        by: By::ConcurrentQuery { is_coalesced: false },
        took_us: micros(explained.took),
        steps: steps(learnt, &server),
        exchanges,
    };
    let decoded = Decoded::from_vec(&explained.answer).ok();
    let records = decoded.as_ref().map_or(&[][..], |message| &message.answers);
    report.answers = records.iter().take(limits::REPORTED_RECORDS).map(answer).collect();
    report.more_answers = answer_count(&explained.answer, key).saturating_sub(report.answers.len());
    report.by = by(learnt, records, &report.exchanges);
    report
}

fn by(learnt: &Learnt<'_>, records: &[Record], exchanges: &[Exchange]) -> By {
    let Learnt { key, explained, after, .. } = learnt;
    let now = explained.begun.into_std();
    let found = explained.standing.as_ref().and_then(|standing| standing.found.as_ref());
    match (&explained.waited, found) {
        (None, Some(Found::Cached(entry, place))) => By::Cache {
            age_s: entry.age(now),
            remaining_s: entry.seconds().saturating_sub(entry.age(now)),
            place: place_of(*place),
        },
        (None, Some(Found::Ruled(rule))) => {
            By::Rule { rule: rule.to_string(), because: rule.because().to_owned() }
        }
        (None, None) => match explained.outcome {
            Outcome::Hit | Outcome::ImpossibleName | Outcome::NxdomainCut => {
                By::ConcurrentQuery { is_coalesced: false }
            }
            outcome => By::None { because: refusal(outcome).to_owned() },
        },
        (Some(Waited::Fresh(role)), _) => {
            let is_coalesced = *role == Role::Joined;
            let name = NameText(key.name()).to_string();
            let kind = kind_text(key.type_and_class().0);
            let own = exchanges.iter().rfind(|exchange| exchange.name == name && exchange.kind == kind);
            if let Some(name) = completed(learnt, records) {
                By::SearchList { name, is_coalesced }
            } else if let Some(own) = own {
                By::Upstream(own.clone())
            } else if let Some(Found::Ruled(rule)) = &after.found {
                By::Rule { rule: rule.to_string(), because: rule.because().to_owned() }
            } else {
                By::ConcurrentQuery { is_coalesced }
            }
        }
        (Some(Waited::Stale(entry)), _) => {
            let age_s = entry.age(now);
            let expired_for_s = age_s.saturating_sub(entry.seconds());
            By::Expired { age_s, expired_for_s, because: lateness(explained).to_owned() }
        }
        (Some(Waited::InVain), _) => By::None { because: failure(explained, exchanges) },
    }
}

/// The name that the search list made of this one, when the answer is that name's.
fn completed(learnt: &Learnt<'_>, records: &[Record]) -> Option<String> {
    let text = |(key, _): &(Key, Standing)| NameText(key.name()).to_string();
    let target = match records.first().map(|record| &record.data) {
        Some(RData::CNAME(target)) => target.0.to_ascii(),
        Some(_) => return None,
        // It exists without a record of this type.
        None => return learnt.walked.last().filter(|(_, standing)| standing.exists()).map(text),
    };
    let mut others = learnt.walked.iter().map(text);
    others.find(|name| name.trim_end_matches('.').eq_ignore_ascii_case(target.trim_end_matches('.')))
}

fn place_of(place: explain::Place) -> Place {
    match place {
        explain::Place::Question => Place::Question,
        explain::Place::EveryType => Place::EveryType,
        explain::Place::SearchList => Place::SearchList,
    }
}

fn lateness(explained: &Explained) -> &'static str {
    let standing = explained.standing.as_ref();
    if standing.is_some_and(|standing| standing.is_upstream_down) {
        "no upstream is known to answer"
    } else if explained.took >= limits::STALE_AFTER {
        "the upstream did not answer within 400 ms"
    } else if standing.is_some_and(|standing| standing.is_under_way) {
        "the answer of an exchange in flight is late"
    } else {
        "the upstream failed"
    }
}

fn refusal(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Loop => "the proxy received its own query: the upstream leads back to the proxy",
        Outcome::OverLimit => "a limit was reached; `stats` shows which one",
        Outcome::HealthCheck => "the upstream does not respond, and health checks of other proxies fail",
        _ => "the proxy does not answer queries of this kind",
    }
}

fn failure(explained: &Explained, exchanges: &[Exchange]) -> String {
    if explained.outcome == Outcome::OverLimit {
        return refusal(Outcome::OverLimit).to_owned();
    }
    match exchanges.last() {
        Some(exchange) if exchange.result == AttemptResult::Failure.name() => {
            format!("{} responded SERVFAIL, REFUSED or another error", exchange.server)
        }
        Some(exchange) if exchange.result == AttemptResult::NegativeIgnored.name() => {
            format!(
                "the upstream does not respond, and the answer of the backup server {} that the name does not exist is ignored",
                exchange.server
            )
        }
        Some(exchange) => {
            format!(
                "no server answered in time; the last of {} attempts was at {}",
                exchange.attempts, exchange.server
            )
        }
        None if explained.standing.as_ref().is_some_and(|standing| standing.has_failed_lately) => {
            "an upstream query failed less than 2 s ago; the failure is cached for 2 s".to_owned()
        }
        None => "the exchange ended without an answer".to_owned(),
    }
}

fn answer(record: &Record) -> Answer {
    Answer {
        name: name(&record.name),
        ttl_s: record.ttl,
        kind: kind_text(record.record_type().into()),
        data: data(&record.data),
    }
}

/// A name with what is no printable ASCII escaped (RFC 1035 section 5.1), and punycode left as it is: what whoever controls
/// a zone writes there must not steer the terminal of who looks.
fn name(name: &Name) -> String {
    NameText(&name.to_bytes().unwrap_or_default()).to_string()
}

/// A text in quotes, escaped like a name (RFC 1035 section 5.1).
fn quoted(text: &[u8]) -> String {
    let escaped = text.iter().map(|byte| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\{byte:03}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The data of the types that people look for as master files write it; of others as the type's number of bytes and they
/// (RFC 3597 section 5): every type's own form would weigh more than it is worth here.
fn data(data: &RData) -> String {
    match data {
        RData::A(data) => data.to_string(),
        RData::AAAA(data) => data.to_string(),
        RData::CNAME(data) => name(data),
        RData::MX(data) => format!("{} {}", data.preference, name(&data.exchange)),
        RData::NS(data) => name(data),
        RData::PTR(data) => name(data),
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

/// How many records the answer section holds.
fn answer_count(answer: &[u8], key: &Key) -> usize {
    let Some(message) = Message::new(answer) else { return 0 };
    let records = message.records(key.question().len()).map_while(Result::ok);
    records.filter(|record| record.section == Section::Answer).count()
}

/// The RCODE by its name in IANA's registry.
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

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, NULL, TXT};

    #[test]
    fn what_a_zone_says_does_not_steer_a_terminal() {
        let hostile = b"a\"\\ \x1b]0;t\x07\r\n\xc2\x9b\x7f".as_slice();
        let shown = data(&RData::TXT(TXT::from_bytes(vec![hostile, b"b"])));
        assert_eq!(shown, r#""a\"\\ \027]0;t\007\013\010\194\155\127" "b""#);
        let name = Name::from_labels([b"\x1b[2J".as_slice(), b"xn--80ak6aa92e", b"com"]).expect("a name");
        assert_eq!(data(&RData::CNAME(CNAME(name))), r"\027[2J.xn--80ak6aa92e.com.");
    }

    #[test]
    fn rfc3597_5_data_of_a_type_that_few_look_for_is_shown_as_bytes() {
        assert_eq!(data(&RData::A(A::new(10, 0, 0, 1))), "10.0.0.1");
        assert_eq!(data(&RData::NULL(NULL::with(vec![0xff, 0, 7]))), "\\# 3 ff0007");
    }
}
