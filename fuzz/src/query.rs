//! Messages from clients: [`Query::parse`] compared with hickory-proto, and the error answers of the sidecar.

use hickory_proto::op::{Message, OpCode, ResponseCode};
use podlocal_dns::wire::{LONGEST_NAME, Rcode};
use podlocal_sidecar::query::{MARKER_OPTION, Marker, Query, Rejected};
use podlocal_sidecar::reply::{write_error, write_missing, write_rejection};

use crate::walk::{self, HEADER, OPT};
use crate::{decode, question, word};

const SIG: u16 = 24;
const NXNAME: u16 = 128;
const TKEY: u16 = 249;
const TSIG: u16 = 250;
const IXFR: u16 = 251;
const AXFR: u16 = 252;

/// Checks the bytes as one message from a client.
pub fn check(bytes: &[u8]) {
    let second = decode(bytes);
    let nobody_to_answer = bytes.len() < HEADER || bytes[2] & 0x80 != 0;
    match Query::parse(bytes) {
        Ok(query) => {
            assert!(!nobody_to_answer, "a response was parsed as a query");
            if let Some((message, read)) = &second {
                assert_eq!(*read, bytes.len(), "there are bytes after the query");
                agrees(&query, message);
                assert!(!reasons(bytes, message, *read).iter().any(|(_, holds)| *holds), "{message:?}");
            }
            assert_eq!(query.markers, markers(bytes).unwrap_or_default());
            for rcode in [Rcode::SERVFAIL, Rcode::NOTIMP, Rcode::REFUSED] {
                error_is_sound(&query, rcode);
            }
            missing_is_sound(&query);
        }
        Err(rejected) => {
            assert_eq!(rejected == Rejected::Silence, nobody_to_answer, "{rejected:?}");
            if let Some((message, read)) = &second {
                let reasons = reasons(bytes, message, *read);
                assert!(reasons.contains(&(rejected, true)), "no reason for {rejected:?}: {message:?}");
            }
            rejection_is_sound(bytes, rejected);
        }
    }
}

fn agrees(query: &Query<'_>, message: &Message) {
    let metadata = &message.metadata;
    assert_eq!(query.id, metadata.id);
    let flags = [
        (0x0400, metadata.authoritative),
        (0x0200, metadata.truncation),
        (0x0100, metadata.recursion_desired),
        (0x0080, metadata.recursion_available),
        (0x0020, metadata.authentic_data),
        (0x0010, metadata.checking_disabled),
    ];
    for (bit, is_set) in flags {
        assert_eq!(query.flags.has(bit), is_set, "flag {bit:#06x}");
    }
    assert_eq!(metadata.op_code, OpCode::Query);
    assert!(message.answers.is_empty() && message.authorities.is_empty());

    let spelled = question(message).expect("one question");
    assert_eq!(query.question, spelled, "in the client's spelling");
    let (name, rest) = spelled.split_at(spelled.len() - 4);
    assert_eq!(query.key.name(), name.to_ascii_lowercase());
    assert_eq!(query.key.question(), [&name.to_ascii_lowercase(), rest].concat());

    assert_eq!(query.edns.is_some(), message.edns.is_some());
    if let (Some(ours), Some(edns)) = (query.edns, &message.edns) {
        // hickory-proto takes any size below 512 for 512 (RFC 6891 section 6.2.3).
        assert_eq!(ours.payload_size.max(512), edns.max_payload());
        assert_eq!(ours.dnssec_ok, edns.flags().dnssec_ok);
        assert_eq!(edns.version(), 0);
    }
    let dnssec_ok = message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    assert_eq!(query.key.dnssec_ok(), dnssec_ok);
    assert_eq!(query.key.checking_disabled(), metadata.checking_disabled);
    assert_eq!(query.key.recursion_desired(), metadata.recursion_desired);
    assert_eq!(query.client().understands_authentic_data(), dnssec_ok || metadata.authentic_data);
}

/// The data of the EDNS option in which sidecars mark their queries; of several such options, the last one.
fn markers(bytes: &[u8]) -> Option<&[u8]> {
    let records = walk::walk(bytes)?.records;
    let opt = records.iter().find(|record| record.kind == OPT)?;
    let options = walk::options(&bytes[opt.rdata.clone()])?;
    let markers = options.iter().rev().filter(|(code, data)| *code == MARKER_OPTION && !data.is_empty());
    markers.map(|(_, data)| *data).find(|data| data.len() % size_of::<Marker>() == 0)
}

/// The table at the top of `query.rs` in the sidecar, evaluated independently on the bytes: every possible
/// error for a message that hickory-proto can decode, and whether its condition holds. If no condition holds,
/// the message is a query.
fn reasons(bytes: &[u8], message: &Message, read: usize) -> [(Rejected, bool); 13] {
    let metadata = &message.metadata;
    let records = walk::walk(bytes).map(|walk| walk.records).unwrap_or_default();
    let asked = message.queries.first().map_or(0, |question| u16::from(question.query_type()));
    let (formerr, notimp) = (Rejected::Answer(Rcode::FORMERR), Rejected::Answer(Rcode::NOTIMP));
    let opt = records.iter().find(|record| record.kind == OPT);
    let options_are_cut_off = opt.is_some_and(|opt| walk::options(&bytes[opt.rdata.clone()]).is_none());
    [
        (Rejected::Silence, bytes[2] & 0x80 != 0),
        (notimp, metadata.op_code != OpCode::Query),
        (formerr, word(bytes, 4) != 1),
        (formerr, !walk::question_is_plain(bytes)),
        (formerr, word(bytes, 6) != 0 || word(bytes, 8) != 0),
        (formerr, records.iter().filter(|record| record.kind == OPT).count() > 1),
        (formerr, read != bytes.len()),
        (formerr, options_are_cut_off),
        (formerr, matches!(asked, 0 | OPT | NXNAME | TSIG | u16::MAX)),
        (Rejected::Answer(Rcode::BADVERS), message.edns.as_ref().is_some_and(|edns| edns.version() != 0)),
        (notimp, matches!(asked, TKEY | IXFR | AXFR)),
        (notimp, records.iter().any(|record| matches!(record.kind, SIG | TSIG))),
        // Not a row of the table: a record of the query that is malformed, which hickory-proto does not
        // notice.
        (formerr, records.iter().any(|record| walk::points_into_header(bytes, record.start))),
    ]
}

fn error_is_sound(query: &Query<'_>, rcode: Rcode) {
    let mut out = Vec::new();
    write_error(query, rcode, &mut out);
    let answer = answer(&out, query.id, rcode);
    assert_eq!(question(&answer).as_deref(), Some(query.question));
    assert_eq!(answer.metadata.recursion_desired, query.flags.has(0x0100));
    let edns = answer.edns.as_ref().map(|edns| edns.flags().dnssec_ok);
    assert_eq!(edns, query.edns.map(|edns| edns.dnssec_ok), "EDNS for clients that use it");
}

/// Checks the NXDOMAIN answer for every zone that the name may be in.
fn missing_is_sound(query: &Query<'_>) {
    let name = query.question.len() - 4;
    let mut zone_at = 0;
    while zone_at < name {
        // The names of the SOA record have labels before the zone, which must fit, too.
        if name - zone_at <= LONGEST_NAME - "0hostmaster".len() {
            let mut out = Vec::new();
            write_missing(query, zone_at, 30, &mut out);
            assert!(out.len() < 512);
            let (answer, read) = decode(&out).expect("the answer of the sidecar decodes");
            assert_eq!(read, out.len());
            assert_eq!(
                (answer.metadata.id, answer.metadata.response_code),
                (query.id, ResponseCode::NXDomain)
            );
            assert_eq!(question(&answer).as_deref(), Some(query.question));
            assert_eq!((answer.answers.len(), answer.authorities.len()), (0, 1));
            assert_eq!(crate::name(&answer.authorities[0].name), query.question[zone_at..name]);
            assert_eq!(answer.edns.is_some(), query.edns.is_some());
        }
        zone_at += 1 + usize::from(query.question[zone_at]);
    }
}

fn rejection_is_sound(bytes: &[u8], rejected: Rejected) {
    let mut out = Vec::new();
    let is_written = write_rejection(bytes, rejected, &mut out);
    let Rejected::Answer(rcode) = rejected else {
        assert!(!is_written && out.is_empty(), "an answer was written although none may be sent");
        return;
    };
    assert!(is_written);
    let answer = answer(&out, word(bytes, 0), rcode);
    if let Some(edns) = answer.edns.as_ref() {
        let records = walk::walk(bytes).map(|walk| walk.records).unwrap_or_default();
        let dnssec_ok = records.iter().any(|record| record.kind == OPT && record.ttl & 0x8000 != 0);
        assert_eq!((rcode, edns.flags().dnssec_ok), (Rcode::BADVERS, dnssec_ok), "RFC 3225 section 3");
    }
    assert_eq!(answer.metadata.op_code, OpCode::from_u8(bytes[2] >> 3 & 0xf));
    // Only the first question, because the error may follow it.
    let asked = Some(bytes).filter(|bytes| word(bytes, 4) == 1 && walk::question_is_plain(bytes));
    let asked = asked.and_then(|bytes| {
        let mut alone = bytes.to_vec();
        alone[6..HEADER].fill(0);
        question(&decode(&alone)?.0)
    });
    assert_eq!(question(&answer), asked, "the question is echoed when it can be read");
}

/// Decodes an answer of the sidecar, and checks that it has this id and RCODE, no records, and that no server
/// answers it.
fn answer(out: &[u8], id: u16, rcode: Rcode) -> Message {
    let (answer, read) = decode(out).expect("the answer of the sidecar decodes");
    assert_eq!(read, out.len());
    assert_eq!(answer.metadata.id, id);
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(rcode.0));
    assert!(answer.answers.is_empty() && answer.authorities.is_empty() && answer.additionals.is_empty());
    assert_eq!(
        Query::parse(out).err(),
        Some(Rejected::Silence),
        "a server that answers responses causes a loop"
    );
    answer
}
