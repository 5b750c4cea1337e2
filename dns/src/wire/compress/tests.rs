use super::*;

const QUESTION: &[u8] = b"\x01a\x02ex\x00\x00\xff\x00\x01";

/// An answer with these records: owner, type and data.
fn message(records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(QUESTION);
    for (owner, rtype, data) in records {
        bytes.extend_from_slice(owner);
        bytes.extend_from_slice(&rtype.to_be_bytes());
        bytes.extend_from_slice(b"\x00\x01\x00\x00\x00\x3c\x00");
        bytes.push(data.len() as u8);
        bytes.extend_from_slice(data);
    }
    bytes
}

fn compressed(records: &[(&[u8], u16, &[u8])]) -> Option<Vec<u8>> {
    compress(&message(records), QUESTION.len())
}

const ASKED: &[u8] = b"\x01a\x02ex\x00";
const POINTER: &[u8] = b"\xc0\x0c";

#[test]
fn owners_and_names_of_rfc1035_become_pointers() {
    let whole = [
        (ASKED, 1, b"\x0a\x00\x00\x01".as_slice()),
        (ASKED, 5, b"\x01b\x02ex\x00"),
        (b"\x01b\x02ex\x00", 15, b"\x00\x0a\x01b\x02ex\x00"),
        (b"\x02ex\x00", 6, b"\x02ns\x02ex\x00\x01a\x02ex\x00SERIAL-AND-SO-ON...."),
    ];
    let expected = [
        (POINTER, 1, b"\x0a\x00\x00\x01".as_slice()),
        (POINTER, 5, b"\x01b\xc0\x0e"),
        (b"\xc0\x32", 15, b"\x00\x0a\xc0\x32"),
        (b"\xc0\x0e", 6, b"\x02ns\xc0\x0e\xc0\x0cSERIAL-AND-SO-ON...."),
    ];
    assert_eq!(compressed(&whole), Some(message(&expected)));
    assert_eq!(compressed(&expected), Some(message(&expected)), "what is compressed stays as it is");
}

#[test]
fn rfc3597_4_names_of_later_types_are_not_compressed() {
    let came = [
        (POINTER, 33, b"\x00\x00\x00\x00\x00\x50\x01b\xc0\x0e".as_slice()),
        (POINTER, 35, b"\x00\x01\x00\x02\x01u\x00\x02re\xc0\x0c"),
        (POINTER, 65_399, b"\x01a\x02ex\x00\xc0\x0c"),
    ];
    let expected = [
        (POINTER, 33, b"\x00\x00\x00\x00\x00\x50\x01b\x02ex\x00".as_slice()),
        (POINTER, 35, b"\x00\x01\x00\x02\x01u\x00\x02re\x01a\x02ex\x00"),
        (POINTER, 65_399, b"\x01a\x02ex\x00\xc0\x0c"),
    ];
    assert_eq!(compressed(&came), Some(message(&expected)));
}

#[test]
fn letters_keep_their_case() {
    let mixed = [(b"\x01A\x02ex\x00".as_slice(), 1, b"\x0a\x00\x00\x01".as_slice())];
    let expected = [(b"\x01A\xc0\x0e".as_slice(), 1, b"\x0a\x00\x00\x01".as_slice())];
    assert_eq!(compressed(&mixed), Some(message(&expected)));
}

#[test]
fn a_record_with_malformed_data_is_not_compressed() {
    for (rtype, data) in [(5, b"\x01b".as_slice()), (5, b""), (15, b"\x00"), (35, b"\x00\x01\x00\x02\x09u")] {
        assert_eq!(compressed(&[(POINTER, rtype, data)]), None, "type {rtype}");
    }
    let mut other_class = message(&[(POINTER, 1, b"\x0a\x00\x00\x01")]);
    let class_at = HEADER_LENGTH + QUESTION.len() + 5;
    other_class[class_at] = 3;
    assert_eq!(compress(&other_class, QUESTION.len()), None, "CHAOS has another A");
}
