//! A message of an upstream, and whether it answers the query of the sidecar:
//! [`QueryMessage::check_response`].
//!
//! The input: a byte of switches, two bytes that change the question (the place and the value), then the
//! message, either as bytes or as an answer of `message` with a few changes.

use arbitrary::Unstructured;
use podlocal_dns::wire;
use podlocal_sidecar::query::Query;
use podlocal_sidecar::upstream::loop_detection::LoopMarker;
use podlocal_sidecar::upstream::query_message::QueryMessage;

use crate::message::answer;
use crate::walk::{self, HEADER};
use crate::{bare_query, decode, question, respell, same_question, word};

/// The question of the query if the message has no question that the sidecar could have sent.
const USUAL: &[u8] = b"\x03api\x07example\x03com\x00\x00\x01\x00\x01";

/// Splits the input, makes the query, and judges the message.
pub fn check(input: &[u8]) {
    let Some(([switches, place, change], rest)) = input.split_first_chunk() else { return };
    let mut message = if switches & 1 == 0 { rest.to_vec() } else { built(rest).unwrap_or_default() };
    let mut asked = match walk::first_question(&message) {
        Some(place) => message[place].to_vec(),
        None => USUAL.to_vec(),
    };
    // Another question than the answered one, most often a similar one.
    let place = usize::from(*place) % asked.len();
    asked[place] ^= change;
    let bytes = bare_query(0, 0x0100, &asked);
    let Ok(query) = Query::parse(&bytes) else { return };
    let token = LoopMarker::new().expect("the kernel has random bytes");
    let ours = QueryMessage::new(token, switches & 2 == 0).expect("the kernel has random bytes");
    let sent = ours.bytes(&query.key);
    if message.len() >= HEADER {
        set_id_and_flags(&mut message, &sent, *switches);
    }
    judged(&message, &sent, ours.check_response(&query.key, &message).is_ok());
}

/// Sets the right id and flags, which a fuzzer cannot guess, unless a switch forbids it.
fn set_id_and_flags(message: &mut [u8], sent: &[u8], switches: u8) {
    if switches & 4 == 0 {
        message[..2].copy_from_slice(&sent[..2]);
    }
    if switches & 8 == 0 {
        message[2] = message[2] & 0x87 | 0x80;
    }
    if switches & 16 == 0
        && let Some(place) = walk::first_question(message)
    {
        respell(&mut message[place], u32::from(switches) * 0x0101_0101);
    }
}

/// An answer with a few changed bytes.
pub(crate) fn built(rest: &[u8]) -> Option<Vec<u8>> {
    let mut source = Unstructured::new(rest);
    let mut bytes = answer(&mut source).ok()?;
    let changes: Vec<(u16, u8)> = source.arbitrary().ok()?;
    for (place, change) in changes {
        let place = usize::from(place) % bytes.len();
        bytes[place] ^= change;
    }
    Some(bytes)
}

fn judged(message: &[u8], sent: &[u8], is_accepted: bool) {
    let asked = &sent[HEADER..walk::walk(sent).expect("what we send is whole").question.end];
    let is_reply = message.len() >= HEADER
        && message[..2] == sent[..2]
        && message[2] & 0x80 != 0
        && message[2] & 0x78 == 0;
    let rcode = wire::Message::new(message).map_or(0, |message| message.rcode().0);
    let is_failure = is_reply && !matches!(rcode, 0 | 3);
    let is_truncated = is_reply && message[2] & 2 != 0;
    let walked = walk::walk(message);
    let is_same = |place: std::ops::Range<usize>| same_question(&message[place], asked);
    // The sidecar needs only the answer section.
    let mut answers = message.to_vec();
    answers.get_mut(8..HEADER).unwrap_or_default().fill(0);
    let is_answered = walk::walk(&answers).is_some_and(|walk| is_same(walk.question));
    let is_about_ours = message.len() >= HEADER
        && word(message, 4) == 1
        && walk::first_question(message).is_some_and(is_same);
    let is_header_alone = message.len() == HEADER || message.len() > HEADER && word(message, 4) == 0;
    let decoded = decode(message);
    if is_accepted {
        assert!(is_reply, "accepted, but not a response to the query");
        let is_enough =
            if is_failure { is_about_ours || is_header_alone } else { is_about_ours && is_truncated };
        assert!(is_answered || is_enough, "accepted, but for another question, or truncated");
        if let Some((decoded, _)) = decoded.as_ref().filter(|_| !is_header_alone) {
            let question = question(decoded).expect("one question");
            assert!(same_question(&question, asked), "believed, and hickory-proto reads another question");
        }
    } else {
        assert!(!(is_failure && is_header_alone), "a failure is ignored");
        let Some((decoded, _)) = decoded else { return };
        let is_plain = walk::question_is_plain(message);
        let is_ours = question(&decoded).is_some_and(|question| same_question(&question, asked));
        let leads_nowhere = walked.is_some_and(|walk| {
            walk.records.iter().any(|record| walk::points_into_header(message, record.start))
        });
        assert!(
            !(is_reply && is_plain && is_ours && !leads_nowhere),
            "a true answer is ignored: {decoded:?}"
        );
    }
}
