//! The cost of a message: from [`QueryMessage::check_response`] to the answers that clients get, counted in
//! steps ([`podlocal_dns::wire::work`]) and compared with the number of bytes of the message.
//!
//! The input: three bytes that say how the rest is repeated, then the name of a question (or else [`USUAL`])
//! and records. A fuzzer makes short inputs, but a message is expensive if it repeats a record a thousand
//! times.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::wire::work::steps_of;
use podlocal_dns::wire::{self, Flags};
use podlocal_settings::Settings;
use podlocal_sidecar::cache::entry::Entry;
use podlocal_sidecar::cache::lifetime::{TtlLimits, lifetime};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::upstream::loop_detection::LoopMarker;
use podlocal_sidecar::upstream::outgoing::without_opt;
use podlocal_sidecar::upstream::query_message::QueryMessage;

use crate::bare_query;
use crate::walk::HEADER;

/// The question of the query.
const USUAL: &[u8] = b"\x03api\x07example\x03com\x00\x00\x01\x00\x01";

/// The limit of steps: from the datagram to the answers of two clients.
const STEPS_FOR_EACH_BYTE: usize = 6;
const MORE_STEPS: usize = 8192;

/// The maximum size of a message over TCP.
const LONGEST: usize = 65_535;

/// Splits the input, and counts the steps for the answer, and for a query of the same bytes.
pub fn check(input: &[u8]) {
    let Some(([shape, split, section], rest)) = input.split_first_chunk() else { return };
    let key = Key::new(USUAL, Flags(Flags::RD), false);
    let ours = QueryMessage::new(LoopMarker::new().expect("random"), false).expect("random");
    let mut bytes = ours.bytes(&key);
    bytes[2] |= 0x80;
    let (once, repeated) = rest.split_at(usize::from(*split).min(rest.len()));
    bytes.extend_from_slice(once);
    let most = LONGEST >> (shape & 3);
    while !repeated.is_empty() && bytes.len() + repeated.len() <= most {
        bytes.extend_from_slice(repeated);
    }
    bytes.truncate(LONGEST);
    // The header counts the maximum of records; the last ones are missing.
    let mut counts = [0; 3];
    counts[usize::from(section % 3)] = if shape & 4 == 0 { u16::MAX } else { u16::from(*section) };
    wire::put_counts(&mut bytes, 1, counts);
    if shape & 8 != 0 {
        wire::set_flag(&mut bytes, Flags::TC); // without TC only whole answers are accepted
    }
    let bound = STEPS_FOR_EACH_BYTE * bytes.len() + MORE_STEPS;
    let (steps, ()) = steps_of(|| serve(&key, &ours, &bytes));
    assert!(steps <= bound, "{steps} steps for {} bytes", bytes.len());
    bytes[2] &= 0x7f;
    let (steps, _) = steps_of(|| Query::parse(&bytes).is_ok());
    assert!(steps <= bound, "{steps} steps for a query of {} bytes", bytes.len());
}

fn serve(key: &Key, ours: &QueryMessage, bytes: &[u8]) {
    let Ok(reading) = ours.check_response(key, bytes) else { return };
    let response = without_opt(bytes.to_vec(), &reading);
    let limits = TtlLimits::new(&Settings::defaults());
    let Some(message) = wire::Message::new(&response) else { return };
    let (lifetime, now) = (lifetime(message, &limits), Instant::now());
    let Ok(entry) = Entry::new(&response, key.question().len(), lifetime, &limits, now) else { return };
    let asked = bare_query(7, 0x0100, key.question());
    let query = Query::parse(&asked).expect("a query");
    assert!(asked.len() > HEADER);
    for limit in [LONGEST, 512] {
        let mut out = Vec::new();
        entry.write(&query, now, limit, &mut out);
        entry.write_stale(&query, limit, &mut out);
    }
}
