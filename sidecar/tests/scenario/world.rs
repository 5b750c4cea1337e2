//! The upstream of a scenario: what it says, and what it thinks of itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_dns::key::Key;
use podlocal_dns::upstream::Condition;
use podlocal_settings::value;
use podlocal_sidecar::query::Query;
use podlocal_sidecar::upstream::{Failed, Upstream};
use tokio::time::{Instant, sleep, sleep_until};

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    /// How many questions reached it since this was last read.
    pub(super) asked: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rules: Vec<Rule>,
    pub(super) is_down: bool,
    pub(super) is_dead: bool,
    last_response: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    name: String,
    kind: Option<RecordType>,
    says: String,
    numbers: HashMap<String, u32>,
    after: Duration,
}

impl Rule {
    pub(super) fn parse(name: &str, kind: &str, says: &[&str]) -> Result<Self, String> {
        let kind = if kind == "*" { None } else { Some(kind_of(kind)?) };
        let says = says.split_first().ok_or("what does it say?")?;
        let (mut numbers, mut after) = (HashMap::new(), Duration::from_millis(1));
        for pair in says.1.chunks(2) {
            match pair {
                ["in", time] => after = value::duration(time)?,
                [word, number] => {
                    numbers.insert((*word).to_owned(), value::number(number)?);
                }
                _ => return Err("a word without its number".to_owned()),
            }
        }
        Ok(Self { name: name.to_owned(), kind, says: (*says.0).to_owned(), numbers, after })
    }

    fn fits(&self, name: &str, kind: RecordType) -> bool {
        let is_name = match self.name.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == self.name,
        };
        is_name && self.kind.is_none_or(|own| own == kind)
    }

    fn number(&self, word: &str, otherwise: u32) -> u32 {
        self.numbers.get(word).copied().unwrap_or(otherwise)
    }

    /// The response to a question, as it is put on the wire.
    fn response(&self, mut message: Message) -> Message {
        let (question, rtype) = (message.queries[0].name().clone(), message.queries[0].query_type());
        message.metadata.response_code = rcode_of(&self.says).unwrap_or(ResponseCode::NoError);
        if message.metadata.response_code.high() > 0 {
            message.set_edns(Edns::new());
        }
        let soa = self.number("soa", 30);
        if let Ok(address) = self.says.parse::<IpAddr>() {
            message.insert_answers(vec![Record::from_rdata(
                question,
                self.number("ttl", 60),
                address.into(),
            )]);
        } else if self.says == "RECORD" {
            let record = Record::from_rdata(question, self.number("ttl", 60), some_data(rtype));
            message.insert_answers(vec![record]);
        } else if matches!(self.says.as_str(), "NXDOMAIN" | "NODATA") && soa > 0 {
            let zone = Name::from_ascii("cluster.local.").expect("a name");
            let data = RData::SOA(SOA::new(zone.clone(), zone.clone(), 1, 7200, 1800, 86400, soa));
            message.insert_authorities(vec![Record::from_rdata(zone, soa, data)]);
        }
        message
    }
}

/// Data of that type.
fn some_data(rtype: RecordType) -> RData {
    let target = Name::from_ascii("target.example.").expect("a name");
    match rtype {
        RecordType::A => RData::A(A::new(203, 0, 113, 1)),
        RecordType::AAAA => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        RecordType::MX => RData::MX(MX::new(10, target)),
        RecordType::PTR => RData::PTR(PTR(target)),
        RecordType::SRV => RData::SRV(SRV::new(0, 100, 80, target)),
        _ => RData::TXT(TXT::new(vec!["text".to_owned()])),
    }
}

impl World {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }
}

impl Upstream for World {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut question = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend_from_slice(key.question());
        let question = Message::from_vec(&question).expect("a question decodes");
        let name = question.queries[0].name().to_string();
        let (name, kind) = (name.trim_end_matches('.').to_owned(), question.queries[0].query_type());
        let rule = self.lock().rules.iter().rev().find(|rule| rule.fits(&name, kind)).cloned();
        let rule = rule.unwrap_or_else(|| Rule::parse("*", "*", &["NXDOMAIN"]).expect("a rule"));
        assert_ne!(rule.says, "panic", "the scenario says so");
        if rule.says == "silent" || Instant::now() + rule.after > deadline {
            sleep_until(deadline).await;
            return Err(Failed);
        }
        sleep(rule.after).await;
        self.lock().last_response = Some(Instant::now());
        Ok(rule.response(question).to_vec().expect("encodes"))
    }

    fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            is_down: state.is_down,
            is_dead: state.is_dead,
            is_refusing: false,
            last_response: state.last_response.map(Instant::into_std),
        }
    }

    fn is_loop(&self, query: &Query<'_>) -> bool {
        query.key.name().starts_with(b"\x04loop")
    }
}

/// The RCODEs without an answer.
pub(super) fn rcode_of(text: &str) -> Option<ResponseCode> {
    Some(match text {
        "FORMERR" => ResponseCode::FormErr,
        "SERVFAIL" => ResponseCode::ServFail,
        "NXDOMAIN" => ResponseCode::NXDomain,
        "NOTIMP" => ResponseCode::NotImp,
        "REFUSED" => ResponseCode::Refused,
        "YXDOMAIN" => ResponseCode::YXDomain,
        "NOTAUTH" => ResponseCode::NotAuth,
        "BADVERS" => ResponseCode::BADVERS,
        "BADCOOKIE" => ResponseCode::BADCOOKIE,
        _ => return None,
    })
}

pub(super) fn kind_of(text: &str) -> Result<RecordType, String> {
    text.parse().map_err(|_| format!("{text:?} is no record type"))
}
