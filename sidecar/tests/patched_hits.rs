//! A hit is a patched copy of the upstream's bytes. The oracle: hickory-proto reads the same in them as in
//! the original, except for the client's id, flags and case, the TTLs, the order of addresses, and EDNS.

use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_dns::wire;
use podlocal_settings::Settings;
use podlocal_sidecar::cache::entry::Entry;
use podlocal_sidecar::cache::lifetime::{Lifetime, TtlLimits, lifetime};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::reply::PAYLOAD_SIZE;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_patched_hit_is_the_original_with_its_ttls_aged(
        (original, asked) in any_response_and_query(),
        age in 0..5000_u32,
        limit in prop_oneof![Just(65_535), 512..1300_usize, Just(512)],
    ) {
        let limits = limits();
        let bytes = original.to_vec().expect("encodes");
        let query = asked.to_vec().expect("encodes");
        let query = Query::parse(&query).expect("a query");
        let lifetime = lifetime(wire::Message::new(&bytes).expect("a header"), &limits);
        let now = Instant::now();
        let entry = Entry::new(&bytes, query.question.len(), lifetime, &limits, now).expect("well formed");
        let mut out = Vec::new();
        entry.write(&query, now + Duration::from_secs(age.into()), limit, &mut out);
        prop_assert!(out.len() <= limit);
        let hit = Message::from_vec(&out).expect("what we write decodes");

        // Taken from the client's query.
        let (given, kept, wanted) = (&hit.metadata, &original.metadata, &asked.metadata);
        prop_assert_eq!((given.id, given.recursion_desired), (wanted.id, wanted.recursion_desired));
        prop_assert_eq!(given.checking_disabled, wanted.checking_disabled);
        prop_assert_eq!(&hit.queries, &asked.queries);
        prop_assert_eq!(hit.queries[0].name().to_string(), asked.queries[0].name().to_string());
        let edns = |message: &Message| {
            message.edns.as_ref().map(|edns| (edns.max_payload(), edns.flags().dnssec_ok))
        };
        prop_assert_eq!(edns(&hit), edns(&asked).map(|(_, dnssec_ok)| (PAYLOAD_SIZE, dnssec_ok)));
        let wants_dnssec = edns(&asked).is_some_and(|(_, dnssec_ok)| dnssec_ok);
        prop_assert_eq!(given.authentic_data, kept.authentic_data && (wanted.authentic_data || wants_dnssec));

        // Taken from the upstream's answer.
        prop_assert_eq!(given.message_type, MessageType::Response);
        prop_assert_eq!(given.response_code, kept.response_code);
        prop_assert_eq!(given.authoritative, kept.authoritative);
        prop_assert_eq!(given.recursion_available, kept.recursion_available);

        let expected = |records: &[Record], is_answer| -> Vec<(Record, u32)> {
            let aged = |ttl| first_ttl(ttl, is_answer, lifetime, &limits).saturating_sub(age);
            records.iter().map(|record| (record.clone(), aged(record.ttl))).collect()
        };
        let found = |records: &[Record]| -> Vec<(Record, u32)> {
            records.iter().map(|record| (record.clone(), record.ttl)).collect()
        };
        let opt_length = |message: &Message| if message.edns.is_some() { 11 } else { 0 };
        let whole = bytes.len() - opt_length(&original) + opt_length(&hit);
        let sections = [
            (found(&hit.answers), expected(&original.answers, true)),
            (found(&hit.authorities), expected(&original.authorities, false)),
            (found(&hit.additionals), expected(&original.additionals, false)),
        ];
        for (found, expected) in &sections {
            prop_assert!(is_beginning(found, expected), "{found:?} of {expected:?}");
        }
        let is_cut = |section: usize| sections[section].0.len() < sections[section].1.len();
        if whole <= limit {
            prop_assert!(!is_cut(0) && !is_cut(1) && !is_cut(2));
        }
        let is_required =
            |section| section == 0 || original.answers.is_empty() || section == 1 && wants_dnssec;
        let first_cut = (0..3).find(|section| is_cut(*section));
        prop_assert_eq!(given.truncation, first_cut.is_some_and(is_required));
        if let Some(cut) = first_cut {
            prop_assert!(sections[cut + 1..].iter().all(|(found, _)| found.is_empty()));
            let ((found, expected), set) = (&sections[cut], |record: &(Record, u32)| {
                (record.0.name.clone(), record.0.record_type())
            });
            let splits_set = found.last().is_some_and(|last| set(last) == set(&expected[found.len()]));
            prop_assert!(cut == 0 || !splits_set, "part of an RRset");
        }
    }
}

/// Whether these records are the first of those, where addresses of one name may be rotated.
fn is_beginning(mut found: &[(Record, u32)], mut expected: &[(Record, u32)]) -> bool {
    while let ([_, ..], Some((first, _))) = (found, expected.first()) {
        let is_of_run = |(record, _): &&(Record, u32)| {
            (&record.name, record.record_type()) == (&first.name, first.record_type())
                && matches!(record.record_type(), RecordType::A | RecordType::AAAA)
        };
        let count = expected.iter().take_while(is_of_run).count().max(1);
        let (run, rest) = expected.split_at(count);
        let (part, left) = found.split_at(count.min(found.len()));
        let twice = [run, run].concat();
        if !twice.windows(part.len()).any(|window| window == part) {
            return false;
        }
        (found, expected) = (left, rest);
    }
    found.is_empty()
}

/// A response, and a client's query for its question, in any case of the letters.
fn any_response_and_query() -> impl Strategy<Value = (Message, Message)> {
    any_response().prop_flat_map(|original| {
        let (asked, kind) = (original.queries[0].name().to_ascii(), original.queries[0].query_type());
        let upper = prop::collection::vec(any::<bool>(), asked.len());
        let query = (any::<u16>(), any::<[bool; 3]>(), prop::option::of(any::<bool>()), upper).prop_map(
            move |(id, flags, dnssec_ok, upper)| {
                let mut message = Message::new(id, MessageType::Query, OpCode::Query);
                let metadata = &mut message.metadata;
                [metadata.recursion_desired, metadata.authentic_data, metadata.checking_disabled] = flags;
                let spell = |(letter, is_upper): (char, &bool)| {
                    if *is_upper { letter.to_ascii_uppercase() } else { letter }
                };
                let spelling: String = asked.chars().zip(&upper).map(spell).collect();
                message.add_query(Question::query(name(&spelling), kind));
                if let Some(dnssec_ok) = dnssec_ok {
                    message.set_edns(Edns::new().set_dnssec_ok(dnssec_ok).clone());
                }
                message
            },
        );
        (Just(original), query)
    })
}

/// Names with equal endings, so that hickory-proto's encoder compresses them.
fn any_name() -> impl Strategy<Value = Name> {
    let label = prop::sample::select(vec!["a", "b", "api", "gang-0", "_tcp"]);
    let suffix =
        prop::sample::select(vec!["example.", "www.example.", "svc.cluster.local.", "x.y.in-addr.arpa."]);
    (prop::collection::vec(label, 0..3), suffix)
        .prop_map(|(labels, suffix)| name(&[&labels[..], &[suffix]].concat().join(".")))
}

fn any_record(owner: Name) -> impl Strategy<Value = Record> {
    let owner = prop_oneof![3 => Just(owner), 1 => any_name()];
    let ttl = prop_oneof![0..100_u32, any::<u32>()];
    (owner, ttl, any_data()).prop_map(|(owner, ttl, data)| Record::from_rdata(owner, ttl, data))
}

fn any_data() -> impl Strategy<Value = RData> {
    let numbers = (any::<u32>(), any::<[i32; 3]>(), 0..100_u32);
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
        any::<[u8; 16]>().prop_map(|octets| RData::AAAA(AAAA(octets.into()))),
        any_name().prop_map(|name| RData::CNAME(CNAME(name))),
        any_name().prop_map(|name| RData::NS(NS(name))),
        any_name().prop_map(|name| RData::PTR(PTR(name))),
        (any::<u16>(), any_name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
        (any::<[u16; 3]>(), any_name())
            .prop_map(|([priority, weight, port], name)| RData::SRV(SRV::new(priority, weight, port, name))),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|text| RData::TXT(TXT::from_bytes(vec![&text]))),
        (any_name(), any_name(), numbers).prop_map(
            |(primary, mailbox, (serial, [refresh, retry, expire], minimum))| {
                RData::SOA(SOA::new(primary, mailbox, serial, refresh, retry, expire, minimum))
            }
        ),
    ]
}

/// A response with or without an OPT record; most of them are cacheable.
fn any_response() -> impl Strategy<Value = Message> {
    let kind = prop::sample::select(vec![RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::ANY]);
    let rcode =
        prop::sample::select(vec![ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::Refused]);
    any_name().prop_flat_map(move |asked| {
        let records = |most| prop::collection::vec(any_record(asked.clone()), 0..most);
        let sections = (records(12), records(3), records(3));
        (Just(asked), kind.clone(), rcode.clone(), sections, any::<[bool; 4]>()).prop_map(
            |(asked, kind, rcode, (answers, authorities, additionals), flags)| {
                let mut message = Message::new(99, MessageType::Response, OpCode::Query);
                message.metadata.response_code = rcode;
                [
                    message.metadata.authoritative,
                    message.metadata.recursion_available,
                    message.metadata.authentic_data,
                    _,
                ] = flags;
                message.add_query(Question::query(asked, kind));
                message.insert_answers(answers);
                message.insert_authorities(authorities);
                message.insert_additionals(additionals);
                if flags[3] {
                    message.set_edns(Edns::new());
                }
                message
            },
        )
    })
}

fn limits() -> TtlLimits {
    TtlLimits { min_ttl: Duration::from_secs(10), ..TtlLimits::new(&Settings::defaults()) }
}

/// The TTL of a record before it ages, as the documentation of the settings says: an answer's within
/// `min-ttl` and `max-ttl`, any other's at most `max-ttl`, and in a negative answer no record's is longer
/// than that.
fn first_ttl(ttl: u32, is_answer: bool, lifetime: Lifetime, limits: &TtlLimits) -> u32 {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).expect("a setting");
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    match lifetime {
        Lifetime::Positive(_) if is_answer => ttl.clamp(seconds(limits.min_ttl), seconds(limits.max_ttl)),
        Lifetime::Positive(_) | Lifetime::Uncached => ttl.min(seconds(limits.max_ttl)),
        Lifetime::Negative(most) => ttl.min(most),
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}
