//! A second parser of messages that shares no code with that of the sidecar: it allocates, and finds only the
//! offsets of the parts.

use std::ops::Range;

use crate::word;

/// The length of the header of a message, in bytes.
pub const HEADER: usize = 12;

/// The type of an OPT record.
pub const OPT: u16 = 41;

/// A message with one question.
#[derive(Debug)]
pub struct Walk {
    /// The range of the question.
    pub question: Range<usize>,
    /// The records, in order.
    pub records: Vec<Record>,
}

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// 0 answer, 1 authority, 2 additional.
    pub section: usize,
    /// The offset of the owner name.
    pub start: usize,
    /// The type.
    pub kind: u16,
    /// The class.
    pub class: u16,
    /// The offset of the TTL.
    pub ttl_at: usize,
    /// The TTL.
    pub ttl: u32,
    /// The range of the data; the next record begins at its end.
    pub rdata: Range<usize>,
}

/// Parses a message; `None` if it is cut off or does not have exactly one question. Names are skipped without
/// following pointers.
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

/// The range of the first question, whatever the count in the header is.
pub fn first_question(bytes: &[u8]) -> Option<Range<usize>> {
    let end = skip_name(bytes, HEADER)? + 4;
    (end <= bytes.len()).then_some(HEADER..end)
}

/// The options in the data of an OPT record, as code and data; `None` if they do not fill it exactly.
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

/// Whether the name of the question is uncompressed: a length byte above 63 is a pointer, or not valid.
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

/// Whether the name at `at` has a pointer into the header. hickory-proto follows such a pointer; the sidecar
/// does not, because there are no names in the header.
pub fn points_into_header(bytes: &[u8], at: usize) -> bool {
    leads_to(bytes, at, |place| place < HEADER)
}

/// Whether the name at `at` has a pointer into a TTL, which changes with time.
pub fn points_into_ttl(bytes: &[u8], at: usize, records: &[Record]) -> bool {
    // A compression pointer of two bytes may begin one byte before the TTL.
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

/// The numbers of bytes, character strings and names at the beginning of the data of a type.
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

/// The owner name of a record and its data, with the names of known types uncompressed; `None` if a name
/// never ends.
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
