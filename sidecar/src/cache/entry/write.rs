//! Writes an entry as the answer to a client's query.

use std::sync::atomic::Ordering;
use std::time::Instant;

use podlocal_dns::wire::{self, AddressRun, EXTENDED_ERROR_LENGTH, Flags, Message, OPT_LENGTH, Section};

use super::{Entry, numbers};
use crate::query::Client;
use crate::reply::PAYLOAD_SIZE;

/// The TTL of an expired answer, in seconds (RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914 sections 4.4 and 4.20).
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN_ANSWER: u16 = 19;

impl Entry {
    /// Writes the answer to a client's query, in at most `limit` bytes. It has the client's id, its RD and CD
    /// flags and its case of the name, and EDNS if the client uses it. TTLs are as they are now, and address
    /// records in another order than the last time. Records that do not fit are left out, and TC is set where
    /// necessary. Allocates only when `out` must grow.
    pub fn write<'a>(&self, client: impl Into<Client<'a>>, now: Instant, limit: usize, out: &mut Vec<u8>) {
        self.put(&client.into(), Ttls::Aged(self.age(now)), None, limit, out);
    }

    /// The same for an expired answer: the TTLs are [`STALE_TTL`], and clients with EDNS get an Extended DNS
    /// Error if there is room behind the records (RFC 8914 section 3).
    pub fn write_stale<'a>(&self, client: impl Into<Client<'a>>, limit: usize, out: &mut Vec<u8>) {
        let info_code = if self.is_nxdomain() { STALE_NXDOMAIN_ANSWER } else { STALE_ANSWER };
        self.put(&client.into(), Ttls::All(STALE_TTL), Some(info_code), limit, out);
    }

    /// Copies the records that fit, with room for the client's OPT record, and makes the copy an answer to the
    /// client's query.
    #[inline]
    fn put(&self, client: &Client<'_>, ttls: Ttls, info_code: Option<u16>, limit: usize, out: &mut Vec<u8>) {
        let for_records = limit.saturating_sub(if client.edns.is_some() { OPT_LENGTH } else { 0 });
        let mut flags = self.flags(client);
        let (message, places) = self.parts();
        out.clear();
        if message.len() <= for_records {
            out.extend_from_slice(message);
            ttls.put(out, places);
            if self.facts().runs > 0 {
                self.rotate(out);
            }
        } else if self.truncate(client, for_records, ttls, out) {
            flags.0 |= Flags::TC;
        }
        wire::put_question(out, client.question);
        wire::put_header(out, client.id, flags);
        let Some(edns) = client.edns else { return };
        match info_code.filter(|_| out.len() + OPT_LENGTH + EXTENDED_ERROR_LENGTH <= limit) {
            Some(info_code) => wire::push_opt_with_error(out, PAYLOAD_SIZE, edns.dnssec_ok, info_code),
            None => wire::push_opt(out, PAYLOAD_SIZE, 0, edns.dnssec_ok),
        }
    }

    /// The upstream's flags, with the client's RD and CD, and AD only for clients that understand it.
    #[inline]
    fn flags(&self, client: &Client<'_>) -> Flags {
        let own = self.message().map_or(0, |message| message.flags().0);
        let mut flags = own & !(Flags::RD | Flags::CD) | (client.flags.0 & (Flags::RD | Flags::CD));
        if !client.understands_authentic_data() {
            flags &= !Flags::AD;
        }
        Flags(flags)
    }

    /// Copies the records that fit; returns whether TC must be set (RFC 2181 section 9).
    ///
    /// | what does not fit | TC |
    /// |---|---|
    /// | the answer section | yes |
    /// | anything, in a message without answers: an SOA or a proof of nonexistence, a referral and its glue (RFC 9471) | yes |
    /// | the authority section behind an answer, for a client that asks for DNSSEC: it may contain a proof (RFC 4035 section 3.1.3.3) | yes |
    /// | the authority or additional section behind an answer, for a PodLocal DNS proxy: its clients accept larger messages | yes, as CoreDNS does for every client |
    /// | the authority section behind an answer | no |
    /// | the additional section behind an answer | no |
    #[cold]
    fn truncate(&self, client: &Client<'_>, limit: usize, ttls: Ttls, out: &mut Vec<u8>) -> bool {
        let (bytes, places) = self.parts();
        let Some(message) = Message::new(bytes) else { return true };
        // Only the records that fit are looked at and copied: a small client's part of a large answer costs
        // no more than a small answer.
        let fit = message.fit(self.facts().question_length.into(), limit);
        let [answers, ..] = message.record_counts();
        out.extend_from_slice(bytes.get(..fit.end).unwrap_or_default());
        wire::put_counts(out, 1, fit.counts);
        if self.facts().runs > 0 {
            let turns = self.next_rotation();
            self.runs().for_each(|run| run.rotate_from(bytes, out, turns));
        }
        ttls.put(out, places.take_while(|at| usize::from(*at) < fit.end));
        let wants_dnssec = client.edns.is_some_and(|edns| edns.dnssec_ok);
        let is_proxy = client.edns.is_some_and(|edns| edns.is_proxy);
        match fit.left_out {
            Section::Answer => true,
            Section::Authority => answers == 0 || wants_dnssec || is_proxy,
            Section::Additional => answers == 0 || is_proxy,
        }
    }

    /// Rotates every run of address records in the copy.
    #[inline(never)] // most answers have one address
    fn rotate(&self, out: &mut [u8]) {
        let turns = self.next_rotation();
        self.runs().for_each(|run| run.rotate(out, turns));
    }

    /// By how many records the next answer is rotated. Two answers at the same moment may begin with the same
    /// record: preventing that would cost more than it is worth.
    fn next_rotation(&self) -> u8 {
        let rotation = &self.facts().rotation;
        let turns = rotation.load(Ordering::Relaxed);
        rotation.store(turns.wrapping_add(1), Ordering::Relaxed);
        turns
    }

    fn runs(&self) -> impl Iterator<Item = AddressRun> {
        let (_, tail) = self.bytes().split_at(self.facts().message_length.into());
        let mut runs = numbers(tail.get(self.places(tail).len()..).unwrap_or_default());
        std::iter::from_fn(move || {
            Some(AddressRun { start: runs.next()?, size: runs.next()?, count: runs.next()? })
        })
    }
}

/// The TTLs in a copy.
#[derive(Clone, Copy)]
enum Ttls {
    /// Each is lowered by so many seconds.
    Aged(u32),
    /// All have this value.
    All(u32),
}

impl Ttls {
    #[inline]
    fn put(self, out: &mut [u8], places: impl Iterator<Item = u16>) {
        match self {
            Self::Aged(seconds) => wire::age(out, places, seconds),
            Self::All(ttl) => wire::put_ttls(out, places, ttl),
        }
    }
}
