//! A second walker of messages, written apart from the sidecar's: it allocates, and knows only where things
//! stand.

use std::ops::Range;

use crate::word;

/// The length of a message's header.
pub const HEADER: usize = 12;

/// The type of an OPT record.
pub const OPT: u16 = 41;

/// A message with one question.
#[derive(Debug)]
pub struct Walk {
    /// Where the question stands.
    pub question: Range<usize>,
    /// Its records, in order.
    pub records: Vec<Record>,
}

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// 0 answer, 1 authority, 2 additional.
    pub section: usize,
    /// Where its name begins.
    pub start: usize,
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub class: u16,
    /// Where its TTL stands.
    pub ttl_at: usize,
    /// Its TTL.
    pub ttl: u32,
    /// Where its data stands; the next record begins at the end of it.
    pub rdata: Range<usize>,
}

/// The places in a message; `None` when it is cut off or has not one question. Names are passed over, not
/// read.
pub fn walk(bytes: &[u8]) -> Option<Walk> {
    if bytes.len() < HEADER || word(bytes, 4) != 1 {
        return None;
    }
    let question = first_question(bytes)?;
    let mut at = question.end;
    let mut records = Vec::new();
    for section in 0..3 {
        for _ in 0..word(bytes, 6 + 2 * section) {
            let start = at;
            let fixed = skip_name(bytes, start)?;
            if fixed + 10 > bytes.len() {
                return None;
            }
            at = fixed + 10 + usize::from(word(bytes, fixed + 8));
            if at > bytes.len() {
                return None;
            }
            let ttl = u32::from(word(bytes, fixed + 4)) << 16 | u32::from(word(bytes, fixed + 6));
            let (kind, class) = (word(bytes, fixed), word(bytes, fixed + 2));
            records.push(Record {
                section,
                start,
                kind,
                class,
                ttl_at: fixed + 4,
                ttl,
                rdata: fixed + 10..at,
            });
        }
    }
    Some(Walk { question, records })
}

/// Where the first question stands, however many there are said to be.
pub fn first_question(bytes: &[u8]) -> Option<Range<usize>> {
    let end = skip_name(bytes, HEADER)? + 4;
    (end <= bytes.len()).then_some(HEADER..end)
}

/// The options in the data of an OPT record, code and data; `None` when they do not fill it.
pub fn options(mut data: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut options = Vec::new();
    while !data.is_empty() {
        let (head, rest) = data.split_at_checked(4)?;
        let (option, rest) = rest.split_at_checked(usize::from(word(head, 2)))?;
        options.push((word(head, 0), option));
        data = rest;
    }
    Some(options)
}

/// Whether a question's name has its labels in place: the first byte above 63 is a pointer, or no label at
/// all.
pub fn question_is_plain(bytes: &[u8]) -> bool {
    let mut at = HEADER;
    while let Some(length) = bytes.get(at) {
        match length {
            0 => return true,
            1..=63 => at += 1 + usize::from(*length),
            _ => return false,
        }
    }
    false
}

/// Whether the name at `at` is led into the header by its pointers. hickory-proto follows them there; the
/// sidecar does not, since nobody's name stands in an id.
pub fn points_into_header(bytes: &[u8], at: usize) -> bool {
    leads_to(bytes, at, |place| place < HEADER)
}

/// Whether the name at `at` has a pointer into a TTL, which does not stay the same.
pub fn points_into_ttl(bytes: &[u8], at: usize, records: &[Record]) -> bool {
    // A pointer may begin before it.
    let is_ttl =
        |place: usize| records.iter().any(|record| (record.ttl_at..record.ttl_at + 5).contains(&(place + 1)));
    leads_to(bytes, at, is_ttl)
}

fn leads_to(bytes: &[u8], mut at: usize, is_there: impl Fn(usize) -> bool) -> bool {
    for _ in 0..bytes.len() {
        match bytes.get(at) {
            Some(length @ 1..=63) => at += 1 + usize::from(*length),
            Some(192..) if at + 1 < bytes.len() => at = usize::from(word(bytes, at) & 0x3fff),
            _ => return is_there(at),
        }
        if is_there(at) {
            return true;
        }
    }
    false
}

/// How many bytes, character strings and names the data of a type begins with.
fn form(kind: u16) -> (usize, usize, usize) {
    match kind {
        2..=5 | 7..=9 | 12 | 30 | 39 => (0, 0, 1),
        6 | 14 | 17 => (0, 0, 2),
        15 | 18 | 21 | 36 => (2, 0, 1),
        24 => (18, 0, 1),
        26 => (2, 0, 2),
        33 => (6, 0, 1),
        35 => (4, 3, 1),
        _ => (0, 0, 0),
    }
}

/// Whether there are names in the data of a type.
pub fn has_names(kind: u16) -> bool {
    form(kind).2 > 0
}

/// A record's name without compression, and its data with the names of known types written whole; `None` when
/// one of them never ends.
pub fn plain(bytes: &[u8], record: &Record) -> Option<(Vec<u8>, Vec<u8>)> {
    let (fixed, strings, names) = form(record.kind);
    let mut at = record.rdata.start + fixed;
    for _ in 0..strings {
        at += 1 + usize::from(*bytes.get(at)?);
    }
    let mut data = bytes.get(record.rdata.start..at)?.to_vec();
    for _ in 0..names {
        data.extend(plain_name(bytes, at)?);
        at = skip_name(bytes, at)?;
    }
    data.extend(bytes.get(at..record.rdata.end)?);
    Some((plain_name(bytes, record.start)?, data))
}

fn plain_name(bytes: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    while name.len() < 256 {
        match bytes.get(at)? {
            0 => {
                name.push(0);
                return Some(name);
            }
            length @ 1..=63 => {
                let end = at + 1 + usize::from(*length);
                name.extend(bytes.get(at..end)?.to_ascii_lowercase());
                at = end;
            }
            192.. if at + 1 < bytes.len() => {
                let target = usize::from(word(bytes, at) & 0x3fff);
                at = Some(target).filter(|target| *target < at)?;
            }
            _ => return None,
        }
    }
    None
}

fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(*length),
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}
