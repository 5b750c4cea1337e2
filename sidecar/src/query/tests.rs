use super::*;

/// A query for `name` (labels with dots between them), type A, class IN, RD set, id 7, then `records`.
pub(crate) fn query_bytes(name: &str, additional: u8, records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes.extend_from_slice(records);
    bytes
}

const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

#[test]
fn a_query_keeps_its_case_and_its_edns() {
    let bytes = query_bytes("Api.Example.COM", 1, OPT);
    let query = Query::parse(&bytes).expect("a query");
    assert_eq!(query.question, b"\x03Api\x07Example\x03COM\x00\x00\x01\x00\x01");
    assert_eq!(query.edns, Some(Edns { payload_size: 1232, dnssec_ok: true, is_proxy: false }));
    assert_eq!(query.id, 7);
}

/// The rows of the table at the top.
#[test]
fn every_refusal_has_its_reason() {
    let changed = |at: usize, value: u8| {
        let mut bytes = query_bytes("a", 0, b"\x01b\x00\x00\x01\x00\x01");
        bytes[at] = value;
        bytes
    };
    let records = |count, records: &[u8]| query_bytes("a", count, records);
    let with_options = |options: &[u8]| records(1, &opt_with(options));
    let named_opt = b"\xc0\x0c\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    let version_one = b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00";
    let (silence, answer) = (Rejected::Silence, Rejected::Answer);
    for (what, bytes, expected) in [
        ("nothing", vec![], silence),
        ("a short message", query_bytes("a", 0, &[])[..11].to_vec(), silence),
        ("a response", changed(2, 0x81), silence),
        ("NOTIFY", changed(2, 4 << 3), answer(Rcode::NOTIMP)),
        ("RFC 9619: no question", changed(5, 0), answer(Rcode::FORMERR)),
        ("RFC 9619: two questions", changed(5, 2), answer(Rcode::FORMERR)),
        ("RFC 9619: 255 questions", changed(5, 255), answer(Rcode::FORMERR)),
        ("bytes behind the query", records(0, b"x"), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.1: two OPT records", records(2, &OPT.repeat(2)), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.2: an owner name", records(1, named_opt), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.2: half an option", with_options(b"\x00"), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.2: short data", with_options(b"\x00\x0a\x00\x08c"), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.2: a byte more", with_options(b"\x00\x0a\x00\x00\x00"), answer(Rcode::FORMERR)),
        ("RFC 6891 6.1.3: version 1", records(1, version_one), answer(Rcode::BADVERS)),
        ("AXFR", query_of_type(TYPE_AXFR), answer(Rcode::NOTIMP)),
        ("IXFR", query_of_type(TYPE_IXFR), answer(Rcode::NOTIMP)),
        ("TKEY", query_of_type(TYPE_TKEY), answer(Rcode::NOTIMP)),
        ("RFC 6895 3.1: type 0", query_of_type(0), answer(Rcode::FORMERR)),
        ("RFC 6895 3.1: type 65535", query_of_type(u16::MAX), answer(Rcode::FORMERR)),
        ("RFC 6895 3.1: OPT", query_of_type(TYPE_OPT), answer(Rcode::FORMERR)),
        ("RFC 6895 3.1: TSIG", query_of_type(TYPE_TSIG), answer(Rcode::FORMERR)),
        ("RFC 6895 3.1: NXNAME", query_of_type(TYPE_NXNAME), answer(Rcode::FORMERR)),
    ] {
        assert_eq!(Query::parse(&bytes).err(), Some(expected), "{what}");
    }
    let bytes = query_bytes("api.example.com", 1, OPT);
    for length in 12..bytes.len() {
        let refused = Query::parse(&bytes[..length]).err();
        assert_eq!(refused, Some(answer(Rcode::FORMERR)), "cut to {length}");
    }
}

/// An OPT record with that data.
fn opt_with(rdata: &[u8]) -> Vec<u8> {
    let mut record = OPT.to_vec();
    record[10] = rdata.len() as u8;
    record.extend_from_slice(rdata);
    record
}

#[test]
fn a_marker_is_kept_and_other_options_are_not() {
    let cookie = b"\x00\x0a\x00\x08cccccccc".as_slice();
    let marker = b"\xff\x49\x00\x08mmmmmmmm".as_slice();
    let two = b"\xff\x49\x00\x10mmmmmmmmnnnnnnnn".as_slice();
    let short = b"\xff\x49\x00\x03mmm".as_slice();
    for (options, expected) in [
        (vec![], b"".as_slice()),
        (vec![cookie], b""),
        (vec![short], b""),
        (vec![marker], b"mmmmmmmm"),
        (vec![cookie, marker, short], b"mmmmmmmm"),
        (vec![two], b"mmmmmmmmnnnnnnnn"),
    ] {
        let bytes = query_bytes("a", 1, &opt_with(&options.concat()));
        let query = Query::parse(&bytes).expect("a query");
        assert_eq!(query.markers, expected, "{options:?}");
    }
}

/// A query for that type.
fn query_of_type(rtype: u16) -> Vec<u8> {
    let mut bytes = query_bytes("a", 0, &[]);
    let at = bytes.len() - 4;
    bytes[at..at + 2].copy_from_slice(&rtype.to_be_bytes());
    bytes
}

#[test]
fn unassigned_and_obsolete_types_are_accepted() {
    for rtype in [3, 127, 129, 248, 253, 254, 255, 61_440, 65_280, 65_534] {
        assert!(Query::parse(&query_of_type(rtype)).is_ok(), "{rtype}");
    }
}
