use super::*;

/// A header with one question for `a.b` and the given answer count, then `records`.
fn message(answers: u8, records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    bytes.extend_from_slice(b"\x01a\x01b\x00\x00\x01\x00\x01");
    bytes.extend_from_slice(records);
    bytes
}

const QUESTION_LENGTH: usize = 9;

#[test]
fn a_question_is_name_type_and_class() {
    let bytes = message(0, &[]);
    let question = Message::new(&bytes).and_then(Message::question).expect("a question");
    assert_eq!(question, b"\x01a\x01b\x00\x00\x01\x00\x01");
    assert_eq!(type_and_class(question), (1, 1));
}

#[test]
fn rfc1035_4_1_4_a_compressed_question_is_no_question() {
    let mut bytes = message(0, &[]);
    bytes[HEADER_LENGTH] = 0xc0;
    assert_eq!(Message::new(&bytes).and_then(Message::question), None);
}

#[test]
fn rfc1035_2_3_4_a_name_above_255_bytes_is_no_question() {
    let mut bytes = message(0, &[]);
    bytes.truncate(HEADER_LENGTH);
    for _ in 0..8 {
        bytes.push(31);
        bytes.extend_from_slice(&[b'x'; 31]);
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    assert_eq!(Message::new(&bytes).and_then(Message::question), None);
}

#[test]
fn records_are_walked_by_their_own_lengths() {
    let bytes = message(1, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01");
    let records: Result<Vec<_>, _> =
        Message::new(&bytes).expect("long enough").records(QUESTION_LENGTH).collect();
    let records = records.expect("well formed");
    assert_eq!((records[0].rtype, records[0].ttl, records[0].rdata), (1, 60, &[10, 0, 0, 1][..]));
    assert_eq!(records[0].end, bytes.len());
}

#[test]
fn a_compression_loop_is_malformed() {
    let here = (HEADER_LENGTH + QUESTION_LENGTH) as u8;
    for pointer in [here, here + 2, 0] {
        let mut record = vec![0xc0, pointer];
        record.extend_from_slice(b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00");
        let bytes = message(1, &record);
        let message = Message::new(&bytes).expect("long enough");
        let records: Vec<_> = message.whole_records(QUESTION_LENGTH).collect();
        assert_eq!(records, [Err(Malformed)], "pointer to {pointer}");
    }
}

#[test]
fn rfc1035_4_1_4_the_target_of_a_pointer_is_a_complete_earlier_name() {
    // The data of the first record ends in a label of five bytes, which overlaps the second record's own
    // name.
    let bytes = message(
        2,
        b"\xc0\x0c\xff\x00\x00\x01\x00\x00\x00\x3c\x00\x01\x05\
          \xc0\x21\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00",
    );
    let mut records = Message::new(&bytes).expect("long enough").whole_records(QUESTION_LENGTH);
    assert!(records.next().is_some_and(|record| record.is_ok()));
    assert_eq!(records.next(), Some(Err(Malformed)));
}

#[test]
fn a_record_that_is_cut_off_anywhere_is_malformed() {
    let whole = message(1, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01");
    for length in HEADER_LENGTH + QUESTION_LENGTH..whole.len() {
        let records: Vec<_> =
            Message::new(&whole[..length]).expect("long enough").records(QUESTION_LENGTH).collect();
        assert_eq!(records, [Err(Malformed)], "cut to {length}");
    }
}

#[test]
fn a_name_is_shown_with_escapes_and_without_control_characters() {
    assert_eq!(NameText(b"\x03a.b\x04x\n\\\xff\x00").to_string(), "a\\.b.x\\010\\\\\\255.");
    assert_eq!(NameText(b"\x00").to_string(), ".");
    assert_eq!(NameText(b"\x09cut").to_string(), "cut.");
}

#[test]
fn ttls_age_and_stop_at_zero() {
    let mut bytes = message(1, b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00");
    let ttl_at = bytes.len() - 6;
    age(&mut bytes, [ttl_at as u16].into_iter(), 50);
    assert_eq!(get_u32(&bytes, ttl_at), Some(10));
    age(&mut bytes, [ttl_at as u16].into_iter(), 50);
    assert_eq!(get_u32(&bytes, ttl_at), Some(0));
}

#[test]
fn rfc6891_6_1_2_options_are_read_as_they_are_written() {
    let mut bytes = message(0, &[]);
    push_opt(&mut bytes, 1232, 0, false);
    push_option(&mut bytes, 65_001, b"abc");
    let message = Message::new(&bytes).expect("a message");
    let record = message.records(QUESTION_LENGTH).next().expect("a record").expect("well-formed");
    assert_eq!(record.end, bytes.len());
    let read: Vec<_> = options(record.rdata).collect();
    assert_eq!(read, [Ok((65_001, b"abc".as_slice()))]);
}

#[test]
fn a_list_of_options_that_is_cut_off_is_malformed_and_ends() {
    let whole = b"\x00\x03\x00\x00\xfd\xe9\x00\x02ab";
    assert_eq!(options(whole).flatten().count(), 2);
    for length in (1..whole.len()).filter(|length| *length != 4) {
        let read: Vec<_> = options(&whole[..length]).collect();
        assert_eq!(read.last(), Some(&Err(Malformed)), "cut to {length}");
    }
}

#[test]
fn labels_are_read_as_they_are_written() {
    let name = name_from_text("WWW.example.").expect("a name");
    assert_eq!(name, b"\x03www\x07example\x00");
    assert_eq!(question(&name, TYPE_TXT, CLASS_IN), b"\x03www\x07example\x00\x00\x10\x00\x01");
    assert!(labels(&name).map(|(label, _)| label).eq([b"www".as_slice(), b"example"]));
    assert_eq!(labels(&name).nth(1).map(|(_, from)| from), Some(b"\x07example\x00".as_slice()));
    assert_eq!(name_from_text(""), Some(vec![0]));
    for refused in [".", "a..b", &"a".repeat(64), &vec!["a".repeat(63); 5].join(".")] {
        assert_eq!(name_from_text(refused), None, "{refused}");
    }
    assert_eq!(labels(b"\x05ab").count(), 0);
}
