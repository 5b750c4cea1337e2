//! Walking the records of a message, and the options of an OPT record.

use super::{Steps, get_u16, get_u32, name_end, skip_name, work};

/// One resource record, by its offset in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The offset of its first byte.
    pub start: usize,
    /// The offset of the next record.
    pub end: usize,
    /// Its section.
    pub section: Section,
    /// Its type (RRTYPE).
    pub rtype: u16,
    /// Its class; in an OPT record the sender's UDP payload size.
    pub class: u16,
    /// The offset of its TTL.
    pub ttl_at: usize,
    /// Its TTL; in an OPT record the extended RCODE, the version and the DO bit.
    pub ttl: u32,
    /// Whether its name is the root, as an OPT record's must be.
    pub is_root: bool,
    /// Its data.
    pub rdata: &'a [u8],
}

/// The sections of a message that hold records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Section {
    Answer,
    Authority,
    Additional,
}

/// A message with an invalid format: a record is cut off, or a name has a compression loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message ends in the middle of a record or has an impossible name")]
pub struct Malformed;

/// The records of a message; ends after the first malformed one.
#[derive(Debug)]
pub struct Records<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) left: [u16; 3],
    /// The remaining steps for names; `None`: names are not followed.
    pub(super) steps: Option<Steps>,
}

impl Records<'_> {
    /// The offset of the next record; after the last one, the end of the message by its own counts.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.left.iter().position(|left| *left > 0)?;
        work::step();
        self.left[index] -= 1;
        let section = [Section::Answer, Section::Authority, Section::Additional][index];
        let name_end = match &mut self.steps {
            Some(steps) => name_end(self.bytes, self.at, steps),
            None => skip_name(self.bytes, self.at),
        };
        if let Some(record) = name_end.and_then(|end| record(self.bytes, self.at, end, section)) {
            self.at = record.end;
            return Some(Ok(record));
        }
        self.left = [0; 3];
        Some(Err(Malformed))
    }
}

#[inline]
fn record(bytes: &[u8], start: usize, name_end: usize, section: Section) -> Option<Record<'_>> {
    let ttl_at = name_end + 4;
    let rdata_at = ttl_at + 6;
    let end = rdata_at + usize::from(get_u16(bytes, ttl_at + 4)?);
    Some(Record {
        start,
        end,
        section,
        rtype: get_u16(bytes, ttl_at - 4)?,
        class: get_u16(bytes, ttl_at - 2)?,
        ttl_at,
        ttl: get_u32(bytes, ttl_at)?,
        is_root: bytes.get(start) == Some(&0),
        rdata: bytes.get(rdata_at..end)?,
    })
}

/// The options in the data of an OPT record (RFC 6891 section 6.1.2): code and data of each. Ends after the
/// first one that is cut off.
#[inline]
pub fn options(mut rdata: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        if rdata.is_empty() {
            return None;
        }
        work::step();
        let option = get_u16(rdata, 0).zip(get_u16(rdata, 2)).and_then(|(code, length)| {
            let end = 4 + usize::from(length);
            Some((code, rdata.get(4..end)?, rdata.get(end..)?))
        });
        let Some((code, data, rest)) = option else {
            rdata = &[];
            return Some(Err(Malformed));
        };
        rdata = rest;
        Some(Ok((code, data)))
    })
}
