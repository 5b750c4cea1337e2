//! Makes an entry from a response.

use std::cell::RefCell;
use std::sync::atomic::AtomicU8;
use std::time::Instant;

use podlocal_dns::wire::{
    self, AddressRun, EXTENDED_ERROR_LENGTH, HEADER_LENGTH, Malformed, Message, OPT_LENGTH, Rcode, Section,
    TYPE_OPT,
};
use triomphe::ThinArc;

use super::{Entry, Facts};
use crate::cache::lifetime::{Lifetime, TtlLimits};

impl Entry {
    /// Makes an entry from a response to the question of that length, with the TTLs that the limits allow.
    ///
    /// An RCODE of more than four bits becomes SERVFAIL: BADVERS and BADCOOKIE are about the sidecar's own
    /// EDNS, and their lower bits alone would say NOERROR and YXRRSET (RFC 6891 section 6.1.3).
    ///
    /// Records behind the OPT record, which should be last, are dropped with it: they are additional ones,
    /// and moving them would break the compression pointers among them.
    pub fn new(
        response: &[u8],
        question_length: usize,
        lifetime: Lifetime,
        limits: &TtlLimits,
        now: Instant,
    ) -> Result<Self, Malformed> {
        BUFFERS.with_borrow_mut(|buffers| buffers.entry(response, question_length, lifetime, limits, now))
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Buffers in which entries are made, one after another: each needs several, and keeps one.
#[derive(Debug, Default)]
struct Buffers {
    message: Vec<u8>,
    ttls: Vec<u16>,
    runs: Vec<AddressRun>,
}

impl Buffers {
    fn entry(
        &mut self,
        response: &[u8],
        question_length: usize,
        lifetime: Lifetime,
        limits: &TtlLimits,
        now: Instant,
    ) -> Result<Entry, Malformed> {
        let message = Message::new(response).ok_or(Malformed)?;
        let Self { message: bytes, ttls, runs } = self;
        let mut counts = [0; 3];
        let mut end = HEADER_LENGTH + question_length;
        bytes.clear();
        bytes.extend_from_slice(response);
        for record in message.records(question_length) {
            let record = record?;
            if record.rtype == TYPE_OPT {
                if record.ttl >> 24 != 0 {
                    wire::put_rcode(bytes, Rcode::SERVFAIL);
                }
                break;
            }
            counts[record.section as usize] += 1;
            wire::put_ttl(
                bytes,
                record.ttl_at,
                lifetime.record_ttl(record.ttl, record.section == Section::Answer, limits),
            );
            end = record.end;
        }
        bytes.truncate(end);
        wire::put_counts(bytes, 1, counts);
        let compressed = if counts == [1, 0, 0] { None } else { wire::compress(bytes, question_length) };
        let compressed = compressed.filter(|compressed| compressed.len() <= bytes.len().max(FITS_EVERYWHERE));
        // In a message that was not compressed here, a pointer may lead into a record that rotation would
        // move.
        let may_rotate = compressed.is_some();
        if let Some(compressed) = compressed {
            *bytes = compressed;
        }
        ttls.clear();
        runs.clear();
        Message::new(bytes).ok_or(Malformed)?.layout(question_length, ttls, runs)?;
        runs.truncate(if may_rotate { u8::MAX.into() } else { 0 });
        let facts = Facts {
            message_length: u16::try_from(bytes.len()).map_err(|_| Malformed)?,
            question_length: question_length as u16,
            stored: now,
            lifetime,
            hits: AtomicU8::new(0),
            marks: AtomicU8::new(0),
            runs: runs.len() as u8,
            // The id of the sidecar's query is random: caches that start together begin with different
            // records.
            rotation: AtomicU8::new(message.id() as u8),
        };
        let numbers = ttls.drain(..).chain(runs.drain(..).flat_map(AddressRun::numbers));
        bytes.extend(numbers.flat_map(u16::to_ne_bytes));
        let entry = Entry(ThinArc::from_header_and_slice(facts, bytes));
        if bytes.capacity() > LARGEST_KEPT {
            *self = Self::default();
        }
        Ok(entry)
    }
}

/// The capacity of a buffer that is kept for the next entry.
const LARGEST_KEPT: usize = 4096;

/// The size that fits for every client, with an OPT record: a message of this size need not be compressed.
const FITS_EVERYWHERE: usize = 512 - OPT_LENGTH - EXTENDED_ERROR_LENGTH;
