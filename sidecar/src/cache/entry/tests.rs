use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message as Decoded, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, OPT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::cache::lifetime::TtlLimits;
use crate::query::Query;
use crate::query::tests::query_bytes;

fn limits() -> TtlLimits {
    TtlLimits::new(&podlocal_settings::Settings::defaults())
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A response to `a.example A` with these answers, and an OPT record as CoreDNS adds it: last.
fn response(answers: Vec<Record>) -> Decoded {
    let mut message = Decoded::new(99, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = true;
    message.add_query(Question::query(name("a.example."), RecordType::A));
    message.insert_answers(answers);
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message
}

fn a(last: u8, ttl: u32) -> Record {
    Record::from_rdata(name("a.example."), ttl, RData::A(A(Ipv4Addr::new(10, 0, 0, last))))
}

fn entry(message: &Decoded, seconds: u32, now: Instant) -> Entry {
    let bytes = message.to_vec().expect("encodes");
    let question_length = Message::new(&bytes).and_then(Message::question).expect("a question").len();
    Entry::new(&bytes, question_length, Lifetime::Positive(seconds), &limits(), now).expect("well formed")
}

fn query(spelling: &str, additional: u8, records: &[u8]) -> Query<'static> {
    Query::parse(query_bytes(spelling, additional, records).leak()).expect("a query")
}

const OPT_512: &[u8] = b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00";
/// With the marker of a proxy.
const OPT_PROXY: &[u8] = b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x0c\xff\x49\x00\x08a-marker";
const OPT_DO: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

fn written(entry: &Entry, query: &Query<'_>, now: Instant, limit: usize) -> Decoded {
    let mut out = Vec::new();
    entry.write(query, now, limit, &mut out);
    assert!(out.len() <= limit, "{} bytes for a limit of {limit}", out.len());
    Decoded::from_vec(&out).expect("what we write decodes")
}

/// The last octets of the addresses in so many answers.
fn orders(entry: &Entry, answers: usize, limit: usize) -> Vec<Vec<u8>> {
    let last = |record: &Record| record.data.ip_addr().map(|address| address.to_string());
    let order = |reply: &Decoded| reply.answers.iter().filter_map(last).collect::<Vec<_>>();
    let replies = (0..answers).map(|_| written(entry, &query("a.example", 0, &[]), Instant::now(), limit));
    let last_octet = |text: &String| text.rsplit(['.', ':']).next().and_then(|last| last.parse().ok());
    replies.map(|reply| order(&reply).iter().filter_map(last_octet).collect()).collect()
}

#[test]
fn each_address_is_the_first_as_often_as_the_others() {
    for count in [2, 3, 7] {
        let entry = entry(&response((0..count).map(|last| a(last, 60)).collect()), 60, Instant::now());
        let orders = orders(&entry, 10 * usize::from(count), 512);
        for last in 0..count {
            assert_eq!(orders.iter().filter(|order| order[0] == last).count(), 10, "{last} of {count}");
        }
        for mut order in orders {
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..count), "all of them, once");
        }
    }
}

#[test]
fn a_client_that_gets_a_part_gets_every_address_in_time() {
    let entry = entry(&response((0..100).map(|last| a(last, 60)).collect()), 60, Instant::now());
    let mut seen = orders(&entry, 100, 512).concat();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

#[test]
fn ipv6_addresses_are_rotated_and_so_are_those_of_a_stale_answer() {
    let aaaa = |last: u16| {
        let address = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        Record::from_rdata(name("a.example."), 60, RData::AAAA(address.into()))
    };
    let entry = entry(&response(vec![aaaa(1), aaaa(2)]), 60, Instant::now());
    let (first, second) = (orders(&entry, 1, 512), orders(&entry, 1, 512));
    assert_ne!(first, second);
    let mut firsts = Vec::new();
    for _ in 0..2 {
        let mut out = Vec::new();
        entry.write_stale(&query("a.example", 0, &[]), 512, &mut out);
        firsts.push(Decoded::from_vec(&out).expect("decodes").answers[0].clone());
    }
    assert_ne!(firsts[0], firsts[1]);
}

#[test]
fn aliases_stay_in_order_before_the_addresses_of_the_last() {
    let alias = |from: &str, to: &str| {
        Record::from_rdata(name(from), 60, RData::CNAME(hickory_proto::rr::rdata::CNAME(name(to))))
    };
    let end = |last| Record::from_rdata(name("c.example."), 60, a(last, 60).data);
    let records = vec![alias("a.example.", "b.example."), alias("b.example.", "c.example."), end(1), end(2)];
    let entry = entry(&response(records.clone()), 60, Instant::now());
    let mut ends = Vec::new();
    for _ in 0..2 {
        let reply = written(&entry, &query("a.example", 0, &[]), Instant::now(), 512);
        assert_eq!(reply.answers[..2], records[..2]);
        ends.push(reply.answers[2].clone());
    }
    assert_ne!(ends[0], ends[1]);
}

#[test]
fn caches_that_start_together_begin_with_different_addresses() {
    let firsts = [0, 1].map(|id| {
        let mut message = response(vec![a(1, 60), a(2, 60)]);
        message.metadata.id = id;
        orders(&entry(&message, 60, Instant::now()), 1, 512)
    });
    assert_ne!(firsts[0], firsts[1]);
}

#[test]
fn rfc2181_9_tc_is_set_when_what_was_asked_for_does_not_fit() {
    let texts = |owner: &str, count: u8| -> Vec<_> {
        let text = |number: u8| RData::TXT(hickory_proto::rr::rdata::TXT::from_bytes(vec![&[number; 40]]));
        (0..count).map(|number| Record::from_rdata(name(owner), 60, text(number))).collect()
    };
    // Answers, authority, additional records; does TC say that some are missing, without DO, with it, to a
    // proxy?
    for (answers, authorities, additionals, expected) in [
        (1, 20, 0, [false, true, true]),
        (1, 0, 20, [false, false, true]),
        (1, 2, 20, [false, false, true]),
        (20, 0, 0, [true, true, true]),
        (0, 20, 0, [true, true, true]),
        (0, 1, 20, [true, true, true]),
        (1, 2, 2, [false, false, false]),
    ] {
        let mut message = response(texts("a.example.", answers));
        message.insert_authorities(texts("example.", authorities));
        message.insert_additionals(texts("b.example.", additionals));
        let entry = entry(&message, 60, Instant::now());
        let queries = [OPT_512, OPT_DO, OPT_PROXY].map(|opt| query("a.example", 1, opt));
        let replies = queries.map(|query| written(&entry, &query, Instant::now(), 512));
        let truncated = [0, 1, 2].map(|reply| replies[reply].metadata.truncation);
        assert_eq!(truncated, expected, "{answers} {authorities} {additionals}");
        let [reply, ..] = &replies;
        assert!(reply.authorities.is_empty() || reply.authorities.len() == usize::from(authorities));
        assert!(reply.additionals.is_empty() || reply.additionals.len() == usize::from(additionals));
    }
}

#[test]
fn rfc6891_6_1_3_an_extended_rcode_becomes_servfail() {
    let now = Instant::now();
    for rcode in [ResponseCode::BADVERS, ResponseCode::BADCOOKIE] {
        let mut message = response(vec![]);
        message.metadata.response_code = rcode;
        let entry = entry(&message, 60, now);
        for query in [query("a.example", 0, &[]), query("a.example", 1, OPT_DO)] {
            let reply = written(&entry, &query, now, 512);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{rcode}");
        }
    }
}

#[test]
fn a_record_behind_the_opt_record_does_not_break_the_message() {
    let now = Instant::now();
    let mut message = response(vec![a(1, 60)]);
    message.edns = None;
    let opt = Record::from_rdata(Name::root(), 0, RData::OPT(OPT::new(vec![])));
    message.insert_additionals(vec![a(2, 60), opt, a(3, 60)]);
    let bytes = message.to_vec().expect("encodes");
    let length = Message::new(&bytes).and_then(Message::question).expect("a question").len();
    let entry = Entry::new(&bytes, length, Lifetime::Positive(60), &limits(), now).expect("well formed");
    let reply = written(&entry, &query("a.example", 1, OPT_512), now, 512);
    assert_eq!((reply.answers.len(), reply.additionals.len(), reply.edns.is_some()), (1, 1, true));
}

#[test]
fn a_truncated_response_is_malformed_not_a_panic() {
    let bytes = response(vec![a(1, 60), a(2, 60)]).to_vec().expect("encodes");
    for length in 0..bytes.len() {
        let _ = Entry::new(&bytes[..length], 15, Lifetime::Positive(60), &limits(), Instant::now());
    }
}

#[test]
fn rfc8767_4_an_expired_answer_has_a_ttl_of_30_and_an_extended_error() {
    let start = Instant::now();
    let entry = entry(&response(vec![a(1, 60)]), 60, start);
    let hour = Duration::from_hours(1);
    assert!(entry.is_usable_stale(start + Duration::from_secs(3659), hour));
    assert!(!entry.is_usable_stale(start + Duration::from_secs(3660), hour));
    assert!(!entry.is_usable_stale(start, Duration::ZERO), "switched off");
    let mut out = Vec::new();
    entry.write_stale(&query("a.example", 1, OPT_512), 512, &mut out);
    assert!(out.ends_with(b"\x00\x0f\x00\x02\x00\x03"));
    assert_eq!(Decoded::from_vec(&out).expect("decodes").answers[0].ttl, 30);
    entry.write_stale(&query("a.example", 0, &[]), 512, &mut out);
    assert!(Decoded::from_vec(&out).expect("decodes").edns.is_none());
}

#[test]
fn rfc8914_3_a_stale_answer_that_fits_without_the_error_is_whole() {
    let now = Instant::now();
    let entry = entry(&response((0..40).map(|last| a(last, 60)).collect()), 60, now);
    let question = query("a.example", 1, OPT_512);
    for limit in 512..700 {
        let (mut fresh, mut stale) = (Vec::new(), Vec::new());
        entry.write(&question, now, limit, &mut fresh);
        entry.write_stale(&question, limit, &mut stale);
        assert!(stale.len() <= limit);
        let [fresh, stale] = [fresh, stale].map(|bytes| Decoded::from_vec(&bytes).expect("decodes"));
        assert_eq!(stale.answers.len(), fresh.answers.len(), "{limit} bytes");
        assert_eq!(stale.metadata.truncation, fresh.metadata.truncation, "{limit} bytes");
        assert!(stale.edns.is_some());
    }
}
