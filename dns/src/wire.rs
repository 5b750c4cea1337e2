//! The DNS message format (RFC 1035 section 4.1), by offset. The only module that indexes packet bytes: no
//! I/O, no allocation except where something is written, and every index is checked, because the bytes come
//! from the network.
//!
//! ```text
//!    0  id            2  QR Opcode AA TC RD RA Z AD CD RCODE
//!    4  QDCOUNT       6  ANCOUNT      8  NSCOUNT     10  ARCOUNT
//!   12  question: name, type, class
//!       records:  name, type, class, TTL, RDLENGTH, RDATA
//! ```

mod compress;
mod fit;
mod name;
mod records;
pub mod work;
mod write;

pub use compress::*;
pub use fit::*;
pub use name::*;
pub use records::*;
pub use write::*;

/// The length of the header, in bytes.
pub const HEADER_LENGTH: usize = 12;

/// The longest name on the wire, with its root label, in bytes (RFC 1035 section 2.3.4).
pub const LONGEST_NAME: usize = 255;

/// The longest question: a name, a type and a class.
pub const LONGEST_QUESTION: usize = LONGEST_NAME + 4;

/// The type of the EDNS pseudo-record (RFC 6891 section 6.1.1).
pub const TYPE_OPT: u16 = 41;

/// Address records (RFC 1035 section 3.4.1, RFC 3596 section 2.1), and the record of a zone's authority.
#[allow(missing_docs, reason = "the names are the field's own")]
pub const TYPE_A: u16 = 1;
#[allow(missing_docs, reason = "the names are the field's own")]
pub const TYPE_AAAA: u16 = 28;
#[allow(missing_docs, reason = "the names are the field's own")]
pub const TYPE_SOA: u16 = 6;
const TYPE_CNAME: u16 = 5;

/// The question for every type (RFC 8482).
pub const TYPE_ANY: u16 = 255;

/// The type of free text (RFC 1035 section 3.3.14).
pub const TYPE_TXT: u16 = 16;

/// The Internet (RFC 1035 section 3.2.4).
pub const CLASS_IN: u16 = 1;

/// The length of an OPT record without options: root name, type, class, TTL, RDLENGTH.
pub const OPT_LENGTH: usize = 11;

/// The OPCODE of an ordinary query (RFC 1035 section 4.1.1).
pub const OPCODE_QUERY: u8 = 0;

/// The RCODEs that the sidecar uses (RFC 1035 section 4.1.1, RFC 6891 section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Rcode(pub u8);

#[allow(missing_docs, reason = "the names are the field's own")]
impl Rcode {
    pub const NO_ERROR: Self = Self(0);
    pub const FORMERR: Self = Self(1);
    pub const SERVFAIL: Self = Self(2);
    pub const NXDOMAIN: Self = Self(3);
    pub const NOTIMP: Self = Self(4);
    pub const REFUSED: Self = Self(5);
    pub const BADVERS: Self = Self(16);
}

/// The second 16 bits of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u16);

#[allow(missing_docs, reason = "the names are the field's own")]
impl Flags {
    pub const QR: u16 = 1 << 15;
    pub const AA: u16 = 1 << 10;
    pub const TC: u16 = 1 << 9;
    pub const RD: u16 = 1 << 8;
    pub const RA: u16 = 1 << 7;
    pub const AD: u16 = 1 << 5;
    pub const CD: u16 = 1 << 4;

    #[inline]
    pub fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    pub fn opcode(self) -> u8 {
        (self.0 >> 11) as u8 & 0xf
    }

    /// The four bits of the header; EDNS has eight more (RFC 6891 section 6.1.3).
    #[inline]
    pub fn rcode(self) -> Rcode {
        Rcode(self.0 as u8 & 0xf)
    }
}

/// A message of at least a header's length.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// `None` when the bytes are fewer than a header.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= HEADER_LENGTH).then_some(Self(bytes))
    }

    /// All bytes of the message.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The id, by which a client assigns an answer to its query.
    #[inline]
    pub fn id(self) -> u16 {
        get_u16(self.0, 0).unwrap_or_default()
    }

    /// The flags, OPCODE and RCODE.
    #[inline]
    pub fn flags(self) -> Flags {
        Flags(get_u16(self.0, 2).unwrap_or_default())
    }

    /// The whole RCODE, with the upper bits of an OPT record (RFC 6891 section 6.1.3); 255 for any larger
    /// value. Without these bits BADVERS would be NOERROR.
    #[inline]
    pub fn rcode(self) -> Rcode {
        if self.record_counts()[2] == 0 {
            return self.flags().rcode();
        }
        let mut records = self.records(self.question_length()).map_while(Result::ok);
        self.extended_rcode(records.find(|record| record.rtype == TYPE_OPT))
    }

    fn extended_rcode(self, opt: Option<Record<'_>>) -> Rcode {
        let high = opt.map_or(0, |opt| opt.ttl >> 24);
        Rcode(u8::try_from(high << 4 | u32::from(self.flags().rcode().0)).unwrap_or(u8::MAX))
    }

    /// QDCOUNT.
    #[inline]
    pub fn question_count(self) -> u16 {
        get_u16(self.0, 4).unwrap_or_default()
    }

    /// ANCOUNT, NSCOUNT and ARCOUNT.
    #[inline]
    pub fn record_counts(self) -> [u16; 3] {
        let count = |at| get_u16(self.0, at).unwrap_or_default();
        [count(6), count(8), count(10)]
    }

    /// The first question: its uncompressed name, type and class. `None` when there is none, when it is cut
    /// off, or when its name is compressed (there is nothing before it that it could point to) or too long.
    #[inline]
    pub fn question(self) -> Option<&'a [u8]> {
        if self.question_count() == 0 {
            return None;
        }
        let mut at = HEADER_LENGTH;
        loop {
            let length = usize::from(*self.0.get(at)?);
            at += 1 + length;
            if length > 63 || at - HEADER_LENGTH > LONGEST_NAME {
                return None;
            }
            if length == 0 {
                return self.0.get(HEADER_LENGTH..at + 4);
            }
        }
    }

    /// The length of the question in bytes; 0 where there is none that can be read.
    #[inline]
    pub fn question_length(self) -> usize {
        self.question().map_or(0, <[u8]>::len)
    }

    /// The records behind a question of that many bytes, in order. Names are skipped and their pointers not
    /// followed: each byte is looked at once.
    #[inline]
    pub fn records(self, question_length: usize) -> Records<'a> {
        let at = HEADER_LENGTH + question_length;
        Records { bytes: self.0, at, left: self.record_counts(), steps: None }
    }

    /// The same, but every owner name is followed to its end, within the limit of [`Steps`]: for messages
    /// from the network.
    #[inline]
    pub fn whole_records(self, question_length: usize) -> Records<'a> {
        Records { steps: Some(Steps::of(self.0)), ..self.records(question_length) }
    }

    /// Reads a response once; all later code relies on the result.
    pub fn read(self) -> Reading {
        let question_length = self.question_length();
        let mut end = HEADER_LENGTH + question_length;
        let (mut counts, mut answers, mut opt) = ([0; 3], 0, None);
        for record in self.whole_records(question_length).map_while(Result::ok) {
            answers += usize::from(record.section == Section::Answer);
            if record.rtype == TYPE_OPT {
                opt = opt.or(Some(record));
            }
            if opt.is_none() {
                counts[record.section as usize] += 1;
                end = record.end;
            }
        }
        let mut options = opt.into_iter().flat_map(|opt| options(opt.rdata)).flatten();
        let has_extended_error = options.any(|(code, _)| code == OPTION_EXTENDED_ERROR);
        let has_all_answers = answers == usize::from(self.record_counts()[0]);
        Reading { rcode: self.extended_rcode(opt), has_extended_error, has_all_answers, end, counts }
    }
}

/// The properties of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// As [`Message::rcode`].
    pub rcode: Rcode,
    /// Whether it has an Extended DNS Error (RFC 8914): the sender supports EDNS.
    pub has_extended_error: bool,
    /// Whether the answer section is complete.
    pub has_all_answers: bool,
    /// The end of the records that may be kept: before the OPT record, or before a record that is cut off.
    pub end: usize,
    /// The number of those records in each section.
    pub counts: [u16; 3],
}

/// The type and class at the end of a question.
#[inline]
pub fn type_and_class(question: &[u8]) -> (u16, u16) {
    let at = question.len().saturating_sub(4);
    (get_u16(question, at).unwrap_or_default(), get_u16(question, at + 2).unwrap_or_default())
}

/// The last 32 bits of some RDATA: in an SOA record its MINIMUM (RFC 1035 section 3.3.13).
pub fn last_u32(rdata: &[u8]) -> Option<u32> {
    get_u32(rdata, rdata.len().checked_sub(4)?)
}

/// The first message of a stream, behind its length, if it has arrived completely (RFC 1035 section 4.2.2).
#[inline]
pub fn first_message(stream: &[u8]) -> Option<&[u8]> {
    stream.get(2..)?.get(..usize::from(get_u16(stream, 0)?))
}

#[inline]
fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[inline]
fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
