//! Writing: patches in place, and data that is appended to a message. No function writes outside of the bytes
//! that it is given; data that does not fit is not written.

use super::{CLASS_IN, Flags, HEADER_LENGTH, Rcode, TYPE_OPT, TYPE_SOA, get_u16, get_u32};

/// Subtracts the age from every TTL at `offsets`, down to zero at the lowest.
#[inline]
pub fn age(message: &mut [u8], offsets: impl Iterator<Item = u16>, seconds: u32) {
    for at in offsets.map(usize::from) {
        if let Some(ttl) = get_u32(message, at) {
            put_u32(message, at, ttl.saturating_sub(seconds));
        }
    }
}

/// Writes one TTL at all `offsets`.
#[inline]
pub fn put_ttls(message: &mut [u8], offsets: impl Iterator<Item = u16>, ttl: u32) {
    for offset in offsets {
        put_u32(message, usize::from(offset), ttl);
    }
}

/// Writes the id and the flags.
#[inline]
pub fn put_header(message: &mut [u8], id: u16, flags: Flags) {
    put_u16(message, 0, id);
    put_u16(message, 2, flags.0);
}

/// Writes the lower four bits of the RCODE.
#[inline]
pub fn put_rcode(message: &mut [u8], rcode: Rcode) {
    let flags = get_u16(message, 2).unwrap_or_default();
    put_u16(message, 2, flags & !0xf | u16::from(rcode.0 & 0xf));
}

/// Sets one bit of the flags.
#[inline]
pub fn set_flag(message: &mut [u8], bit: u16) {
    let flags = get_u16(message, 2).unwrap_or_default();
    put_u16(message, 2, flags | bit);
}

/// Writes QDCOUNT and the three record counts.
#[inline]
pub fn put_counts(message: &mut [u8], questions: u16, records: [u16; 3]) {
    put_u16(message, 4, questions);
    for (at, count) in [6, 8, 10].into_iter().zip(records) {
        put_u16(message, at, count);
    }
}

/// Writes a question of the same length over the one in the message.
#[inline]
pub fn put_question(message: &mut [u8], question: &[u8]) {
    if let Some(place) = message.get_mut(HEADER_LENGTH..HEADER_LENGTH + question.len()) {
        place.copy_from_slice(question);
    }
}

/// Lower-cases the name of the question.
pub fn lower_case_question(message: &mut [u8], question_length: usize) {
    let end = (HEADER_LENGTH + question_length).saturating_sub(4);
    super::lower_case(message.get_mut(HEADER_LENGTH..end).unwrap_or_default());
}

/// Writes a TTL at [`super::Record::ttl_at`].
#[inline]
pub fn put_ttl(message: &mut [u8], at: usize, ttl: u32) {
    put_u32(message, at, ttl);
}

/// Appends an OPT record without options and counts it (RFC 6891 section 6.1.2): the proxy's UDP payload
/// size, the upper eight bits of the RCODE, version 0, the DO bit.
#[inline]
pub fn push_opt(message: &mut Vec<u8>, payload_size: u16, extended_rcode: u8, dnssec_ok: bool) {
    let [[rtype, rtype_low], [size, size_low]] = [TYPE_OPT, payload_size].map(u16::to_be_bytes);
    let flags = u8::from(dnssec_ok) << 7;
    message.extend_from_slice(&[0, rtype, rtype_low, size, size_low, extended_rcode, 0, flags, 0, 0, 0]);
    let additional = get_u16(message, 10).unwrap_or_default();
    put_u16(message, 10, additional.saturating_add(1));
}

/// Appends an OPT record with one Extended DNS Error and no text (RFC 8914 section 2).
#[inline]
pub fn push_opt_with_error(message: &mut Vec<u8>, payload_size: u16, dnssec_ok: bool, info_code: u16) {
    push_opt(message, payload_size, 0, dnssec_ok);
    push_option(message, OPTION_EXTENDED_ERROR, &info_code.to_be_bytes());
}

/// The length of an Extended DNS Error without text: option code, length, info-code.
pub const EXTENDED_ERROR_LENGTH: usize = 6;

/// The code of the Extended DNS Error option (RFC 8914 section 2).
pub const OPTION_EXTENDED_ERROR: u16 = 15;

/// Appends an SOA record (RFC 1035 section 3.3.13). Its owner, and the end of its two names, is the name at
/// `owner_at`, by compression pointers (RFC 1035 section 4.1.4). The caller adjusts the counts.
pub fn push_soa(message: &mut Vec<u8>, owner_at: usize, ttl: u32, soa: &Soa<'_>) {
    let pointer = 0xc000 | owner_at as u16 & 0x3fff;
    let rdata_length =
        soa.server.len() + soa.mailbox.len() + 2 * size_of_val(&pointer) + 5 * size_of::<u32>();
    push_words(message, &[pointer, TYPE_SOA, CLASS_IN]);
    message.extend_from_slice(&ttl.to_be_bytes());
    push_words(message, &[rdata_length as u16]);
    for labels in [soa.server, soa.mailbox] {
        message.extend_from_slice(labels);
        push_words(message, &[pointer]);
    }
    for number in soa.numbers {
        message.extend_from_slice(&number.to_be_bytes());
    }
}

/// The data of an SOA record, with names relative to its owner: labels on the wire, without the root.
#[derive(Debug, Clone, Copy)]
pub struct Soa<'a> {
    /// MNAME, the primary server.
    pub server: &'a [u8],
    /// RNAME, the mailbox of the responsible person.
    pub mailbox: &'a [u8],
    /// SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM.
    pub numbers: [u32; 5],
}

fn push_words(message: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        message.extend_from_slice(&word.to_be_bytes());
    }
}

/// Builds a question.
pub fn question(name: &[u8], rtype: u16, class: u16) -> Vec<u8> {
    let mut question = Vec::with_capacity(name.len() + 4);
    question.extend_from_slice(name);
    push_words(&mut question, &[rtype, class]);
    question
}

/// Replaces the type of a question.
#[inline]
pub fn put_type(question: &mut [u8], rtype: u16) {
    if let Some(at) = question.len().checked_sub(4) {
        put_u16(question, at, rtype);
    }
}

/// Appends an option to the OPT record at the end of a message, which has no options yet (RFC 6891 section
/// 6.1.2).
#[inline]
pub fn push_option(message: &mut Vec<u8>, code: u16, data: &[u8]) {
    let length_at = message.len().saturating_sub(2);
    put_u16(message, length_at, data.len() as u16 + 4);
    push_words(message, &[code, data.len() as u16]);
    message.extend_from_slice(data);
}

#[inline]
pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[inline]
fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
