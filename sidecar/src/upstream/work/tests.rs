//! The work for any answer of a server is limited: in steps in proportion to the bytes of the message.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::wire::work::steps_of;
use podlocal_dns::wire::{self, Flags, HEADER_LENGTH, Message, name_from_text};

use crate::cache::entry::Entry;
use crate::cache::lifetime::{TtlLimits, lifetime};
use crate::query::Query;
use crate::upstream::loop_detection::LoopMarker;
use crate::upstream::outgoing::without_opt;
use crate::upstream::query_message::QueryMessage;

/// From the datagram to the answers that two clients get, one over TCP and one of 512 bytes over UDP, and an
/// alias that leads to it.
const STEPS_FOR_EACH_BYTE: usize = 8;
const MORE_STEPS: usize = 8192;

/// The longest message over TCP.
const LONGEST: usize = 65_535;

struct Answer {
    bytes: Vec<u8>,
    counts: [u16; 3],
}

impl Answer {
    fn new(question: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes.extend_from_slice(question);
        Self { bytes, counts: [0; 3] }
    }

    /// Adds a record to that section; `false`: there is no room.
    fn push(&mut self, section: usize, owner: &[u8], rtype: u16, data: &[u8]) -> bool {
        let head = [rtype, 1, 0, 60, data.len() as u16].map(u16::to_be_bytes);
        let record = [owner, head.as_flattened(), data].concat();
        let has_room = self.bytes.len() + record.len() <= LONGEST;
        if has_room {
            self.bytes.extend(record);
            self.counts[section] += 1;
        }
        has_room
    }

    /// The same answer with one more record.
    fn with(mut self, section: usize, owner: &[u8], rtype: u16, data: &[u8]) -> Self {
        assert!(self.push(section, owner, rtype, data));
        self
    }

    /// The same answer with more records, until there is no room.
    fn filled(mut self, section: usize, mut record: impl FnMut(usize) -> (Vec<u8>, u16, Vec<u8>)) -> Self {
        let mut numbers = 0..;
        while let Some((owner, rtype, data)) = numbers.next().map(&mut record)
            && self.push(section, &owner, rtype, &data)
        {}
        self
    }
}

/// A name of so many labels of one letter, with a root label.
fn deep(labels: usize) -> Vec<u8> {
    (0..labels).flat_map(|number| [1, b'a' + (number % 26) as u8]).chain([0]).collect()
}

fn pointer(place: usize) -> Vec<u8> {
    (0xc000 | place as u16).to_be_bytes().to_vec()
}

const ASKED: usize = HEADER_LENGTH;
const NONE: [u8; 0] = [];

fn hostile(question: &[u8]) -> Vec<(&'static str, Answer)> {
    let answer = || Answer::new(question);
    let address = || answer().with(0, &pointer(ASKED), 1, &[10, 0, 0, 1]);
    // The offset of the first record.
    let first = HEADER_LENGTH + question.len();
    let owners = |section: usize, every: usize| {
        answer()
            .with(section, &deep(118), 1, &NONE)
            .filled(section, |number| (pointer(first + 2 * (number % every)), 1, vec![number as u8; 4]))
    };
    let chain: Vec<u8> = (0..7000)
        .flat_map(|number| pointer(if number == 0 { ASKED } else { ASKED + 20 + 2 * number }))
        .collect();
    let chain_end = first + 11 + chain.len();
    let mut noise = 1_u32;
    let mut random = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let labels: Vec<u8> = std::iter::repeat_with(|| [1, random()]).take(40_000).flatten().collect();
    let alias = |number: usize| [format!("\x05{number:05}").as_bytes(), &pointer(ASKED)].concat();
    vec![
        ("owners of 118 labels", owners(0, 1)),
        ("owners of 118 labels, in turns", owners(0, 2)),
        ("owners of up to 118 labels", owners(0, 100)),
        ("the same in the authority section", owners(1, 3)),
        ("the same in the additional section", owners(2, 3)),
        (
            "owners behind a chain of pointers",
            answer()
                .with(0, &[0], 65_280, &chain)
                .filled(0, |number| (pointer(chain_end - 2 * (number % 3000) - 2), 1, vec![1; 4])),
        ),
        (
            "names of random labels",
            answer().filled(0, |number| {
                let from = 252 * number % (labels.len() - 252);
                (pointer(ASKED), 12, [&labels[from..from + 252], &[0]].concat())
            }),
        ),
        (
            "names that nobody may compress, compressed",
            answer().with(0, &deep(126), 1, &NONE).filled(0, |number| {
                (pointer(ASKED), 17, [pointer(first + 2 * (number % 100)), pointer(first)].concat())
            }),
        ),
        (
            "a chain of aliases",
            answer()
                .filled(0, |number| (number.checked_sub(1).map_or(pointer(ASKED), alias), 5, alias(number))),
        ),
        (
            "a flood of NSEC and RRSIG",
            address().filled(1, |number| (pointer(ASKED), [46, 47][number % 2], vec![0; 1])),
        ),
        (
            "an OPT record of thousands of options",
            address().with(2, &[0], 41, &b"\x00\x0a\x00\x00".repeat(16_000)),
        ),
        ("as many records as there can be", answer().filled(0, |_| (vec![0], 1, vec![]))),
        (
            "addresses, as an honest server gives them",
            answer().filled(0, |number| (pointer(ASKED), 1, (number as u32).to_be_bytes().to_vec())),
        ),
    ]
}

fn limits() -> TtlLimits {
    TtlLimits::new(&podlocal_settings::Settings::defaults())
}

/// The answers to two clients, if the message is accepted.
fn served(key: &Key, question: &QueryMessage, bytes: Vec<u8>) -> Option<[Vec<u8>; 2]> {
    let reading = question.check_response(key, &bytes).ok()?;
    let response = without_opt(bytes, &reading);
    let message = Message::new(&response).expect("a header");
    let (lifetime, now) = (lifetime(message, &limits()), Instant::now());
    let entry = Entry::new(&response, key.question().len(), lifetime, &limits(), now).expect("well formed");
    let bytes = wire_query(key);
    let query = Query::parse(&bytes).expect("a query");
    // The alias that a completion makes of it, if it can.
    let other = wire::question(b"\x05other\x00", 1, 1);
    let _ = wire::alias(&entry.aged(now), key.question().len(), &other, 60);
    Some([LONGEST, 512].map(|limit| {
        let mut out = Vec::new();
        entry.write(&query, now, limit, &mut out);
        out
    }))
}

fn wire_query(key: &Key) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(key.question());
    bytes
}

#[test]
fn the_steps_of_an_answer_are_limited_by_its_bytes() {
    let name = name_from_text("api.default.svc.cluster.local").expect("a name");
    let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
    let question = QueryMessage::new(LoopMarker::new().expect("random"), false).expect("random");
    let asked = question.bytes(&key);
    let mut refused = Vec::new();
    for (what, Answer { mut bytes, counts }) in hostile(key.question()) {
        bytes[..2].copy_from_slice(&asked[..2]);
        bytes[2..4].copy_from_slice(&[0x81, 0x80]);
        wire::put_counts(&mut bytes, 1, counts);
        assert!(bytes.len() > 60_000, "{what}: {} bytes", bytes.len());
        let most = STEPS_FOR_EACH_BYTE * bytes.len() + MORE_STEPS;
        let (steps, answers) = steps_of(|| served(&key, &question, bytes));
        assert!(steps <= most, "{what}: {steps} steps, at most {most}");
        match answers {
            Some([whole, small]) => assert!(whole.len() >= small.len() && small.len() <= 512, "{what}"),
            None => refused.push(what),
        }
    }
    assert_eq!(
        refused,
        ["owners of 118 labels, in turns", "owners of up to 118 labels", "owners behind a chain of pointers",],
        "and a message whose answers are whole is believed without what breaks off behind them"
    );
}

#[test]
fn a_small_client_of_a_large_answer_costs_few_steps() {
    let name = name_from_text("peers.default.svc.cluster.local").expect("a name");
    let key = Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false);
    let (_, Answer { mut bytes, counts }) = hostile(key.question()).pop().expect("the honest one");
    bytes[2..4].copy_from_slice(&[0x81, 0x80]);
    wire::put_counts(&mut bytes, 1, counts);
    let (lifetime, now) = (lifetime(Message::new(&bytes).expect("a header"), &limits()), Instant::now());
    let entry = Entry::new(&bytes, key.question().len(), lifetime, &limits(), now).expect("well formed");
    let query = wire_query(&key);
    let query = Query::parse(&query).expect("a query");
    let mut firsts = std::collections::HashSet::new();
    for _ in 0..100 {
        let mut out = Vec::new();
        let (steps, ()) = steps_of(|| entry.write(&query, now, 512, &mut out));
        assert!(steps <= 512 && out.capacity() < 4096, "{steps} steps, {} bytes of memory", out.capacity());
        let reply = Message::new(&out).expect("an answer");
        assert!(reply.flags().has(Flags::TC));
        let record = reply.records(key.question().len()).next().expect("an address").expect("well formed");
        firsts.insert(record.rdata.to_vec());
    }
    assert_eq!(firsts.len(), 100, "each begins with another address");
}

#[test]
fn the_steps_of_a_query_are_limited_by_its_bytes() {
    let question = wire::question(&deep(118), 1, 1);
    let query = Answer::new(&question);
    let mut query = query.filled(2, |number| (pointer(ASKED + 2 * (number % 100)), 1, vec![]));
    query.bytes[2] = 1;
    wire::put_counts(&mut query.bytes, 1, query.counts);
    let (steps, parsed) = steps_of(|| Query::parse(&query.bytes).is_ok());
    let most = 2 * query.bytes.len() + MORE_STEPS;
    assert!(!parsed && steps <= most, "{steps} steps, at most {most}");
}
