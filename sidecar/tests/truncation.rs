//! Truncation compared with CoreDNS: for every number of records and every EDNS size, a client gets at least
//! the records that CoreDNS would have sent it directly.
//!
//! CoreDNS answers by `Msg.Truncate` of miekg/dns: uncompressed when that fits, else compressed, else as many
//! records as fit. [`coredns`] counts in the same way; the upstream's answer arrives uncompressed.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use podlocal_settings::Settings;
use podlocal_sidecar::cache::entry::Entry;
use podlocal_sidecar::cache::lifetime::{Lifetime, TtlLimits};
use podlocal_sidecar::query::Query;

const SIZES: [Option<usize>; 8] =
    [None, Some(512), Some(768), Some(1024), Some(1220), Some(1232), Some(1452), Some(4096)];

/// An answer section and an additional section for a question.
struct Answer {
    asked: Name,
    kind: RecordType,
    answers: Vec<Record>,
    additionals: Vec<Record>,
}

#[test]
fn no_client_gets_fewer_records_than_from_coredns_itself() {
    let mut compared = 0;
    for count in 1..=60 {
        let rules: [fn(u8) -> Answer; 3] = [services, aliases, alias_of_many];
        let answers = rules.map(|shape| shape(count)).into_iter();
        for answer in answers.chain(PLAIN.map(|shape| plain(shape, count))) {
            let entry = answer.entry();
            for size in SIZES {
                answer.is_no_worse_than_direct(&entry, size);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 9 * 60 * SIZES.len());
}

#[test]
fn answers_that_coredns_sends_whole_without_edns_are_whole() {
    for (answer, fits) in [(addresses(19), true), (services(4), true), (addresses(60), false)] {
        assert_eq!(answer.coredns(512, 0).0 == answer.answers.len(), fits);
        assert_eq!(!answer.written(&answer.entry(), None).metadata.truncation, fits);
    }
}

#[test]
fn rfc2181_9_additional_records_that_do_not_fit_do_not_set_tc() {
    let many = services(8);
    let reply = many.written(&many.entry(), None);
    assert!(!reply.metadata.truncation, "all {} answers are there", reply.answers.len());
    assert_eq!(reply.answers.len(), 8);
    assert!(reply.additionals.len() < 8);
}

impl Answer {
    /// Cached from an uncompressed answer of an upstream.
    fn entry(&self) -> Entry {
        let mut message = Message::new(3, MessageType::Response, OpCode::Query);
        message.add_query(Question::query(self.asked.clone(), self.kind));
        message.insert_answers(self.answers.clone());
        message.insert_additionals(self.additionals.clone());
        message.set_edns(Edns::new());
        let mut bytes = Vec::new();
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        message.emit(&mut encoder).expect("encodes");
        let limits = TtlLimits::new(&Settings::defaults());
        let length = self.asked.to_string().len() + 1 + 4;
        Entry::new(&bytes, length, Lifetime::Positive(30), &limits, Instant::now()).expect("well formed")
    }

    /// The answer to a client with that EDNS size; `None`: without EDNS.
    fn written(&self, entry: &Entry, size: Option<usize>) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(self.asked.clone(), self.kind));
        if size.is_some() {
            message.set_edns(Edns::new());
        }
        let bytes = message.to_vec().expect("encodes");
        let query = Query::parse(&bytes).expect("a query");
        let (mut out, limit) = (Vec::new(), size.unwrap_or(512));
        entry.write(&query, Instant::now(), limit, &mut out);
        assert!(out.len() <= limit);
        Message::from_vec(&out).expect("what we write decodes")
    }

    fn is_no_worse_than_direct(&self, entry: &Entry, size: Option<usize>) {
        let reply = self.written(entry, size);
        let opt_length = if size.is_some() { 11 } else { 0 };
        let (answers, additionals) = self.coredns(size.unwrap_or(512), opt_length);
        let what = format!("{} of {} in {size:?}", self.kind, self.answers.len());
        assert!(reply.answers.len() >= answers, "{what}: {} answers for {answers}", reply.answers.len());
        assert!(
            reply.additionals.len() >= additionals,
            "{what}: fewer than {additionals} additional records"
        );
        assert_eq!(reply.metadata.truncation, reply.answers.len() < self.answers.len(), "{what}: TC");
        assert!(reply.answers.iter().all(|record| self.answers.contains(record)), "{what}: made up");
    }

    /// The number of records of both sections that CoreDNS sends.
    fn coredns(&self, size: usize, opt_length: usize) -> (usize, usize) {
        let (mut known, mut length) = (HashSet::new(), 12 + 4);
        length += name_length(&self.asked, length, true, &mut known);
        let mut fitting = |records: &[Record]| {
            let ends = records.iter().take_while(|record| {
                length += record_length(record, length, &mut known);
                length + opt_length <= size
            });
            ends.count()
        };
        let answers = fitting(&self.answers);
        (answers, if answers < self.answers.len() { 0 } else { fitting(&self.additionals) })
    }
}

fn record_length(record: &Record, at: usize, known: &mut HashSet<String>) -> usize {
    let owner = name_length(&record.name, at, true, known) + 10;
    let at = at + owner;
    owner
        + match &record.data {
            RData::A(_) => 4,
            RData::AAAA(_) => 16,
            RData::CNAME(CNAME(name)) | RData::PTR(PTR(name)) | RData::NS(NS(name)) => {
                name_length(name, at, true, known)
            }
            RData::MX(mx) => 2 + name_length(&mx.exchange, at + 2, true, known),
            RData::SRV(srv) => 6 + name_length(&srv.target, at + 6, false, known),
            RData::TXT(text) => text.txt_data.iter().map(|text| 1 + text.len()).sum(),
            data => panic!("{data:?} is of no shape"),
        }
}

/// The bytes of a name at that offset; adds its suffixes to the names that a pointer can replace.
fn name_length(name: &Name, at: usize, may_point: bool, known: &mut HashSet<String>) -> usize {
    let text = name.to_string();
    let mut length = 0;
    while length + 1 < text.len() {
        let rest = &text[length..];
        if known.contains(rest) {
            return if may_point { length + 2 } else { text.len() + 1 };
        }
        if at + length < 0x4000 {
            known.insert(rest.to_owned());
        }
        length += rest.find('.').expect("a final dot") + 1;
    }
    length + 1
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

const SERVICE: &str = "web.prod.svc.cluster.local.";

fn answer(asked: &str, kind: RecordType, data: impl IntoIterator<Item = RData>) -> Answer {
    let record = |data| Record::from_rdata(name(asked), 30, data);
    Answer {
        asked: name(asked),
        kind,
        answers: data.into_iter().map(record).collect(),
        additionals: Vec::new(),
    }
}

fn address(number: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, number)))
}

/// The record of that number, for names with records of one type.
type Data = fn(u8) -> RData;

const PLAIN: [(&str, Data); 6] = [
    (SERVICE, address),
    (SERVICE, |number| RData::AAAA(AAAA(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into())))),
    ("1.0.0.10.in-addr.arpa.", |number| RData::PTR(PTR(name(&format!("10-0-0-{number}.{SERVICE}"))))),
    ("example.com.", |number| RData::MX(MX::new(10, name(&format!("mx{number}.mail.example.org."))))),
    ("example.com.", |number| RData::NS(NS(name(&format!("ns-{number}.example.com."))))),
    ("example.com.", |number| RData::TXT(TXT::from_bytes(vec![&[b'x'; 30], &[number]]))),
];

fn plain((asked, data): (&str, Data), count: u8) -> Answer {
    answer(asked, data(0).record_type(), (0..count).map(data))
}

fn addresses(count: u8) -> Answer {
    plain((SERVICE, address), count)
}

fn services(count: u8) -> Answer {
    let target = |number: u8| name(&format!("10-0-0-{number}.{SERVICE}"));
    let asked = format!("_http._tcp.{SERVICE}");
    let service = |number| RData::SRV(SRV::new(0, 100, 80, target(number)));
    let additionals = (0..count).map(|number| Record::from_rdata(target(number), 30, address(number)));
    Answer { additionals: additionals.collect(), ..answer(&asked, RecordType::SRV, (0..count).map(service)) }
}

/// A chain of so many aliases, and the address at its end.
fn aliases(count: u8) -> Answer {
    let link = |number: u8| name(&format!("alias-{number}.cdn{}.example.net.", number % 3));
    let mut answer = answer(&link(0).to_string(), RecordType::A, []);
    let alias = |number| Record::from_rdata(link(number), 30, RData::CNAME(CNAME(link(number + 1))));
    answer.answers = (0..count).map(alias).collect();
    answer.answers.push(Record::from_rdata(link(count), 30, address(1)));
    answer
}

/// Two aliases, and so many addresses at their end.
fn alias_of_many(count: u8) -> Answer {
    let mut answer = aliases(2);
    let last = answer.answers.pop().expect("an address").name;
    answer.answers.extend((0..count).map(|number| Record::from_rdata(last.clone(), 30, address(number))));
    answer
}
