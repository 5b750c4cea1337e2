//! Name compression (RFC 1035 section 4.1.4): writes the same records in fewer bytes, with new pointers only.
//!
//! | name | is written |
//! |---|---|
//! | an owner | with a pointer to an equal name or suffix that was written before, if there is one |
//! | in the data of a type of RFC 1035 | the same |
//! | in the data of a later type that an old server may have compressed | whole (RFC 3597 section 4) |
//! | in the data of any other type | byte for byte: servers must not compress it |

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{
    CLASS_IN, Flags, HEADER_LENGTH, LONGEST_NAME, Message, Record, Section, Steps, TYPE_CNAME, get_u16,
    put_counts, put_u16, set_flag, work,
};

/// The largest offset that fits into a pointer.
const LAST_TARGET: usize = 0x3fff;

/// The message with all names compressed; letters keep their case. `None` when it is malformed, when a record
/// has another class than IN, whose data may have another format, or when it would become too long.
pub fn compress(message: &[u8], question_length: usize) -> Option<Vec<u8>> {
    let question = message.get(HEADER_LENGTH..HEADER_LENGTH + question_length)?;
    let mut writer = Writer::begin(message, question)?;
    writer.records(question_length)?;
    (writer.bytes.len() <= LONGEST).then_some(writer.bytes)
}

/// The same as the answer to another question, whose name is an alias of the original one; an answer without
/// records gets no alias. Records that do not fit are left out, with TC if they are answers (RFC 2181 section
/// 9).
pub fn alias(message: &[u8], question_length: usize, question: &[u8], ttl: u32) -> Option<Vec<u8>> {
    let mut writer = Writer::begin(message, question)?;
    let [answers, authorities, additionals] = Message::new(message)?.record_counts();
    if answers > 0 {
        put_counts(&mut writer.bytes, 1, [answers.checked_add(1)?, authorities, additionals]);
        writer.bytes.extend_from_slice(&QUESTION_NAME.to_be_bytes());
        writer.bytes.extend_from_slice(&[TYPE_CNAME, CLASS_IN].map(u16::to_be_bytes).concat());
        writer.bytes.extend_from_slice(&ttl.to_be_bytes());
        let length_at = writer.bytes.len();
        writer.bytes.extend_from_slice(&[0; 2]);
        writer.name(HEADER_LENGTH, true)?;
        writer.put_length(length_at)?;
    }
    writer.records(question_length)?;
    let mut bytes = writer.bytes;
    if bytes.len() > LONGEST {
        let fit = Message::new(&bytes)?.fit(question.len(), LONGEST);
        bytes.truncate(fit.end);
        put_counts(&mut bytes, 1, fit.counts);
        if fit.left_out == Section::Answer {
            set_flag(&mut bytes, Flags::TC);
        }
    }
    Some(bytes)
}

/// The longest message over TCP (RFC 1035 section 4.2.2).
const LONGEST: usize = u16::MAX as usize;

/// A pointer to the name of the question.
const QUESTION_NAME: u16 = 0xc000 | HEADER_LENGTH as u16;

/// Copies names. Each label of the message is copied once: if the name at an offset was copied before, the
/// writer knows where.
struct Writer<'a> {
    message: &'a [u8],
    bytes: Vec<u8>,
    /// By the offset of the rest of a name and the label before it: the offset of the whole name.
    names: HashMap<(u16, &'a [u8]), u16, RandomState>,
    /// By the offset in the message: the name that was written for it.
    known: Vec<Written>,
    /// The labels of the name that is being copied, and their offsets.
    labels: Vec<(&'a [u8], usize)>,
    steps: Steps,
    lookups: usize,
}

/// How many labels of a message are looked up or recorded at most. Further labels are copied as they are:
/// looking them up would take time and save hardly a byte, because repeated names mostly arrive as pointers
/// anyway.
const MAX_LOOKUPS: usize = 2048;

/// A name that was written; 0 and 0: none.
#[derive(Clone, Copy, Default)]
struct Written {
    at: u16,
    length: u8,
}

/// The root, to which no pointer leads.
const ROOT: Written = Written { at: 0, length: 1 };

impl Written {
    /// The name that consists of that label, at that offset, and this name.
    fn with(self, at: u16, label: &[u8]) -> Option<Self> {
        let length = u8::try_from(usize::from(self.length) + 1 + label.len()).ok()?;
        Some(Self { at, length })
    }
}

impl<'a> Writer<'a> {
    /// Begins with the header of a message, and a question.
    fn begin(message: &'a [u8], question: &'a [u8]) -> Option<Self> {
        let mut writer = Self {
            message: question,
            bytes: Vec::with_capacity(message.len()),
            names: HashMap::default(),
            known: Vec::new(),
            labels: Vec::new(),
            steps: Steps::of(message),
            lookups: MAX_LOOKUPS,
        };
        writer.bytes.extend_from_slice(message.get(..HEADER_LENGTH)?);
        writer.name(0, false)?;
        writer.bytes.extend_from_slice(question.get(writer.bytes.len() - HEADER_LENGTH..)?);
        writer.message = message;
        writer.known = vec![Written::default(); message.len().min(LAST_TARGET + 1)];
        Some(writer)
    }

    /// Copies the records behind a question of that length, until there are too many bytes.
    fn records(&mut self, question_length: usize) -> Option<()> {
        for record in Message::new(self.message)?.records(question_length) {
            let record = record.ok().filter(|record| record.class == CLASS_IN)?;
            self.name(record.start, true)?;
            self.bytes.extend_from_slice(self.message.get(record.ttl_at - 4..record.ttl_at + 4)?);
            self.data(&record)?;
            if self.bytes.len() > LONGEST {
                break;
            }
        }
        Some(())
    }

    /// Copies the name at `at` of the message; returns the offset behind it. The target of a pointer must be
    /// written behind the header, and a compressed name must be written behind its target.
    fn name(&mut self, at: usize, may_point: bool) -> Option<usize> {
        let (end, mut behind) = self.read(at, may_point)?;
        // The suffix of the name that was written before, from the root on.
        let mut new = self.labels.len();
        while let Some(&(label, from)) = new.checked_sub(1).and_then(|last| self.labels.get(last)) {
            if !self.may_look_up() {
                break;
            }
            let Some(at) = self.names.get(&(behind.at, label)) else { break };
            behind = behind.with(*at, label)?;
            self.note(from, behind);
            new -= 1;
        }
        let written = if may_point { new } else { self.labels.len() };
        let start = self.bytes.len();
        for (label, _) in self.labels.get(..written)? {
            self.bytes.push(label.len() as u8);
            self.bytes.extend_from_slice(label);
        }
        let mut here =
            start + self.labels.get(..new)?.iter().map(|(label, _)| 1 + label.len()).sum::<usize>();
        if may_point && behind.at > 0 {
            self.bytes.extend_from_slice(&(0xc000 | behind.at).to_be_bytes());
        } else {
            self.bytes.push(0);
        }
        for index in (0..new).rev() {
            let (label, from) = *self.labels.get(index)?;
            here -= 1 + label.len();
            let Some(at) = u16::try_from(here).ok().filter(|at| usize::from(*at) <= LAST_TARGET) else {
                break;
            };
            if !self.may_look_up() {
                break;
            }
            self.names.insert((behind.at, label), at);
            behind = behind.with(at, label)?;
            self.note(from, behind);
        }
        Some(end)
    }

    /// Reads the labels at `at`, as far as they are not known: returns the offset behind the name, and the
    /// known rest of it.
    fn read(&mut self, at: usize, may_point: bool) -> Option<(usize, Written)> {
        self.labels.clear();
        let (mut here, mut end, mut length) = (at, None, 1);
        let mut bound = at;
        loop {
            work::step();
            let known = self.known.get(here).filter(|known| known.length > 0 && may_point);
            if let (Some(known), Some(end)) = (known, end) {
                return (length + usize::from(known.length) - 1 <= LONGEST_NAME).then_some((end, *known));
            }
            if end.is_some() {
                self.steps.take()?;
            }
            let label = usize::from(*self.message.get(here)?);
            match label >> 6 {
                0 if label == 0 => return Some((end.unwrap_or(here + 1), ROOT)),
                0 => {
                    self.labels.push((self.message.get(here + 1..here + 1 + label)?, here));
                    here += 1 + label;
                    length += 1 + label;
                    if length > LONGEST_NAME {
                        return None;
                    }
                }
                3 => {
                    let target = usize::from(get_u16(self.message, here)? & 0x3fff);
                    if !(HEADER_LENGTH..bound).contains(&target) {
                        return None;
                    }
                    end = end.or(Some(here + 2));
                    (here, bound) = (target, target);
                }
                _ => return None,
            }
        }
    }

    fn may_look_up(&mut self) -> bool {
        work::step();
        let may = self.lookups > 0;
        self.lookups -= usize::from(may);
        may
    }

    fn note(&mut self, from: usize, name: Written) {
        if let Some(known) = self.known.get_mut(from) {
            *known = name;
        }
    }

    /// Copies the data of a record, and its length.
    fn data(&mut self, record: &Record<'_>) -> Option<()> {
        let message = self.message;
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        let form = Form::of(record.rtype);
        let start = record.ttl_at + 6;
        let mut at = start + form.fixed;
        for _ in 0..form.strings {
            at += 1 + usize::from(*message.get(at)?);
        }
        self.bytes.extend_from_slice(message.get(start..at)?);
        for _ in 0..form.names {
            at = self.name(at, form.may_point)?;
        }
        self.bytes.extend_from_slice(message.get(at..record.end)?);
        self.put_length(length_at)
    }

    /// Writes the number of bytes that follow the length field at that offset.
    fn put_length(&mut self, at: usize) -> Option<()> {
        let length = u16::try_from(self.bytes.len() - at - 2).ok()?;
        put_u16(&mut self.bytes, at, length);
        Some(())
    }
}

/// The format of the data of a type, as far as names are concerned.
struct Form {
    /// The number of bytes before the strings.
    fixed: usize,
    /// The number of character strings that follow.
    strings: usize,
    /// The number of names that follow.
    names: usize,
    /// Whether they may be compressed.
    may_point: bool,
}

impl Form {
    /// The format of the types of RFC 1035 section 3.3 that contain names, and of those that RFC 3597 section
    /// 4 lists. The data of all other types is treated as if it had no names.
    fn of(rtype: u16) -> Self {
        let (fixed, strings, names, may_point) = match rtype {
            2..=5 | 7..=9 | 12 => (0, 0, 1, true), // NS, MD, MF, CNAME, MB, MG, MR, PTR
            6 | 14 => (0, 0, 2, true),             // SOA, MINFO
            15 => (2, 0, 1, true),                 // MX
            17 => (0, 0, 2, false),                // RP
            18 | 21 | 36 => (2, 0, 1, false),      // AFSDB, RT, KX
            24 => (18, 0, 1, false),               // SIG
            26 => (2, 0, 2, false),                // PX
            30 | 39 => (0, 0, 1, false),           // NXT, DNAME
            33 => (6, 0, 1, false),                // SRV
            35 => (4, 3, 1, false),                // NAPTR
            _ => (0, 0, 0, false),
        };
        Self { fixed, strings, names, may_point }
    }
}

#[cfg(test)]
mod tests;
