//! The answer that a client gets from a cached answer of an upstream: [`Entry::new`], then [`Entry::write`]
//! or [`Entry::write_stale`].
//!
//! The input: [`Client`] in sixteen bytes, then the answer, either as bytes or from
//! `message::answer` with a few changes. Two oracles check the patched answer: [`crate::walk`]
//! compares record by record, and the data must be the same with uncompressed names; and hickory-proto
//! decodes it. The addresses of a name may begin with any of them.

use std::time::{Duration, Instant};

use hickory_proto::rr::Record;
use podlocal_dns::wire;
use podlocal_sidecar::cache::entry::Entry;
use podlocal_sidecar::cache::lifetime::{Lifetime, TtlLimits, lifetime};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::reply::PAYLOAD_SIZE;

use crate::upstream::built;
use crate::walk::{self, HEADER, OPT, Walk};
use crate::{bare_query, decode, put_opt, question, respell, same_question, word};

const AD: u16 = 0x0020;
const TC: u16 = 0x0200;
const RD_AND_CD: u16 = 0x0110;
const OPT_LENGTH: usize = 11;

/// The TTL of an expired answer (RFC 8767 section 4), and the length of the extended error in it (RFC 8914
/// section 2).
const STALE_TTL: u32 = 30;
const ERROR_LENGTH: usize = 6;

/// The client, the age of the answer, and the limits of TTLs.
struct Client<'a> {
    query: Query<'a>,
    limit: usize,
    age: u32,
    is_stale: bool,
    limits: TtlLimits,
}

/// Splits the input, caches the answer, and checks what is written for the client.
pub fn check(input: &[u8]) {
    let Some((parameters, rest)) = input.split_first_chunk::<16>() else { return };
    let is_built = parameters[0] & 1 == 1;
    let Some(original) = (if is_built { built(rest) } else { Some(rest.to_vec()) }) else { return };
    // Other answers do not reach the cache: `QueryMessage::check_response` rejects them, and the length has
    // sixteen bits.
    let Some(walk) = walk::walk(&original).filter(|_| original.len() <= 65_535) else { return };
    // Neither do answers with an owner name that is invalid, or that takes too many steps to parse.
    let reading = wire::Message::new(&original).expect("a header").read();
    let read: usize = reading.counts.into_iter().map(usize::from).sum();
    if read < walk.records.iter().take_while(|record| record.kind != OPT).count() {
        return;
    }
    let asked = asked(parameters, &original[walk.question.clone()]);
    let Some(client) = Client::new(parameters, &asked) else { return };
    let decoded = decode(&original);
    let lifetime = lifetime(wire::Message::new(&original).expect("a header"), &client.limits);
    let now = Instant::now();
    let Ok(entry) = Entry::new(&original, walk.question.len(), lifetime, &client.limits, now) else {
        let is_odd = |record: &walk::Record| {
            walk::points_into_header(&original, record.start)
                || walk::points_into_ttl(&original, record.start, &walk.records)
        };
        assert!(decoded.is_none() || walk.records.iter().any(is_odd), "refused: {decoded:?}");
        return;
    };
    assert_eq!(entry.seconds(), lifetime.seconds());
    assert!(entry.size() >= original.len().min(HEADER + walk.question.len()));

    let mut out = Vec::new();
    if client.is_stale {
        entry.write_stale(&client.query, client.limit, &mut out);
    } else {
        entry.write(&client.query, now + Duration::from_secs(client.age.into()), client.limit, &mut out);
    }
    let expected = Expected::new(&original, &walk, &client, lifetime);
    let is_stable = decoded.is_some() && expected.is_stable();
    expected.holds_record_by_record(&out, is_stable);
    if is_stable {
        expected.is_decodable(&out);
    }
}

/// The flag, if this bit is set in the parameters of the client.
fn bit(parameters: &[u8; 16], at: u8, flag: u16) -> u16 {
    if parameters[1] >> at & 1 == 1 { flag } else { 0 }
}

/// The query for this question, in the letter case and with the EDNS of the client.
fn asked(parameters: &[u8; 16], question: &[u8]) -> Vec<u8> {
    let bit = |at, flag| bit(parameters, at, flag);
    let mut asked = question.to_vec();
    respell(&mut asked, u32::from(word(parameters, 8)) << 16 | u32::from(word(parameters, 10)));
    let mut bytes = bare_query(word(parameters, 14), bit(0, 0x0100) | bit(1, AD) | bit(2, 0x0010), &asked);
    if bit(3, 1) == 1 {
        put_opt(&mut bytes, word(parameters, 2), bit(4, 0x8000));
    }
    bytes
}

impl<'a> Client<'a> {
    fn new(parameters: &[u8; 16], asked: &'a [u8]) -> Option<Self> {
        let seconds = |at: usize, unit: u64| Duration::from_secs(unit * u64::from(parameters[at]));
        let limits = TtlLimits {
            min_ttl: seconds(12, 1),
            max_ttl: seconds(12, 1) + seconds(13, 60),
            max_negative_ttl: seconds(13, 1),
            zone: b"\x07cluster\x05local\x00".to_vec(),
        };
        let (limit, age) = (usize::from(word(parameters, 4)).max(512), u32::from(word(parameters, 6)));
        let is_stale = bit(parameters, 5, 1) == 1;
        Some(Self { query: Query::parse(asked).ok()?, limit, age, is_stale, limits })
    }
}

/// The expected answer.
struct Expected<'a> {
    original: &'a [u8],
    walk: &'a Walk,
    client: &'a Client<'a>,
    /// The records before the OPT record, with their expected TTLs.
    records: Vec<(walk::Record, u32)>,
    /// Whether all records fit even without compression.
    is_whole: bool,
    /// Without TC.
    flags: u16,
}

impl<'a> Expected<'a> {
    fn new(original: &'a [u8], walk: &'a Walk, client: &'a Client, lifetime: Lifetime) -> Self {
        let before_opt = walk.records.iter().take_while(|record| record.kind != OPT);
        let aged = |record: &walk::Record| ttl(record, lifetime, &client.limits).saturating_sub(client.age);
        let records: Vec<_> = before_opt
            .map(|record| (record.clone(), if client.is_stale { STALE_TTL } else { aged(record) }))
            .collect();
        let room = client.limit.saturating_sub(client.opt_length());
        let is_whole = records.last().map_or(walk.question.end, |(last, _)| last.rdata.end) <= room;

        let mut flags = word(original, 2) & !RD_AND_CD | client.query.flags.0 & RD_AND_CD;
        if !client.query.flags.has(AD) && client.query.edns.is_none_or(|edns| !edns.dnssec_ok) {
            flags &= !AD;
        }
        // The upper bits of the RCODE (RFC 6891 section 6.1.3) apply to the hop to the upstream only, and the
        // lower bits alone would be another RCODE.
        let opt = walk.records.iter().find(|record| record.kind == OPT);
        if opt.is_some_and(|record| record.ttl >> 24 != 0) {
            flags = flags & !0xf | 2;
        }
        Self { original, walk, client, records, is_whole, flags: flags & !TC }
    }

    fn holds_record_by_record(&self, out: &[u8], is_stable: bool) {
        let query = &self.client.query;
        let least = self.walk.question.end + self.client.opt_length();
        assert!(out.len() <= self.client.limit.max(least), "{} bytes for {}", out.len(), self.client.limit);
        assert_eq!(word(out, 0), query.id);

        let written = walk::walk(out).expect("what we write is whole");
        assert_eq!(&out[written.question.clone()], query.question, "the client's spelling");
        let end = written.records.last().map_or(written.question.end, |record| record.rdata.end);
        assert_eq!(end, out.len());
        let kept = written.records.len() - usize::from(query.edns.is_some());
        let found: Vec<_> =
            written.records[..kept].iter().map(|record| (record.clone(), record.ttl)).collect();
        for section in 0..3 {
            let of = |records: &[(walk::Record, u32)], bytes: &[u8]| -> Vec<_> {
                let of_section = records.iter().filter(|(record, _)| record.section == section);
                let what = |(record, ttl): &(walk::Record, u32)| {
                    let plain = walk::plain(bytes, record).filter(|_| is_stable);
                    (record.kind, record.class, *ttl, plain)
                };
                of_section.map(what).collect()
            };
            let (found, expected) = (of(&found, out), of(&self.records, self.original));
            assert!(is_beginning(&found, &expected, is_stable), "{found:?} of {expected:?}");
        }
        self.check_truncation(word(out, 2), &found);
        if let Some(edns) = query.edns {
            let opt = written.records.last().expect("an OPT record");
            let ttl = u32::from(edns.dnssec_ok) << 15;
            assert_eq!((opt.section, opt.kind, opt.class, opt.ttl), (2, OPT, PAYLOAD_SIZE, ttl));
            let error = if self.flags & 0xf == 3 { 19 } else { 3_u8 };
            // The extended error is left out before any record is (RFC 8914 section 3).
            let has_room = out.len() - opt.rdata.len() + ERROR_LENGTH <= self.client.limit;
            let options = if self.client.is_stale && has_room { &[0, 15, 0, 2, 0, error][..] } else { &[] };
            assert_eq!(&out[opt.rdata.clone()], options);
        }
    }

    /// Only records at the end may be missing, and TC must be set if they are required.
    fn check_truncation(&self, flags: u16, found: &[(walk::Record, u32)]) {
        let count = |records: &[(walk::Record, u32)], section| {
            records.iter().filter(|(record, _)| record.section == section).count()
        };
        let cut = (0..3).find(|section| count(found, *section) < count(&self.records, *section));
        assert!(!self.is_whole || cut.is_none(), "a record fits, and is missing");
        let dnssec_ok = self.client.query.edns.is_some_and(|edns| edns.dnssec_ok);
        let is_required = |cut: usize| cut == 0 || count(&self.records, 0) == 0 || cut == 1 && dnssec_ok;
        let expected = self.flags | if cut.is_some_and(is_required) { TC } else { 0 };
        // Other flags of the upstream, including TC, are passed on.
        let upstreams = word(self.original, 2) & TC;
        assert_eq!(flags, expected | upstreams, "flags: {flags:#06x}");
        if let Some(cut) = cut {
            assert!(
                (cut + 1..3).all(|section| count(found, section) == 0),
                "a section after the truncated one has records"
            );
        }
    }

    fn is_decodable(&self, out: &[u8]) {
        let (written, read) = decode(out).expect("an answer that hickory-proto decodes stays decodable");
        assert_eq!(read, out.len());
        let asked = self.client.query.question;
        assert!(question(&written).is_some_and(|question| same_question(&question, asked)));
        let edns = written.edns.as_ref().map(|edns| (edns.version(), edns.flags().dnssec_ok));
        assert_eq!(edns, self.client.query.edns.map(|edns| (0, edns.dnssec_ok)));
    }

    /// Whether the names in the data stay the same when the header and the TTLs change. Fuzzed messages have
    /// pointers into the header and the TTLs, messages of servers do not.
    fn is_stable(&self) -> bool {
        let data = self.walk.records.iter().flat_map(|record| self.original[record.rdata.clone()].windows(2));
        let into_header = data.clone().any(|pair| pair[0] == 0xc0 && usize::from(pair[1]) < HEADER);
        let mut patched = self.original.to_vec();
        for (record, ttl) in &self.records {
            patched[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        let records = |bytes: &[u8]| -> Option<Vec<Record>> {
            let (message, _) = decode(bytes)?;
            Some([message.answers, message.authorities, message.additionals].concat())
        };
        !into_header && records(&patched) == records(self.original)
    }
}

/// Type, class, TTL, and the uncompressed owner name and data.
type Plain = (u16, u16, u32, Option<(Vec<u8>, Vec<u8>)>);

/// Whether these records are addresses of one name, whose order may change. Without the names, the end of such a
/// run is not known.
fn is_run(one: &Plain, other: &Plain) -> bool {
    let owner = |plain: &Plain| plain.3.as_ref().map(|(owner, _)| owner.clone());
    (one.0, one.1, owner(one)) == (other.0, other.1, owner(other)) && matches!(one.0, 1 | 28)
}

/// Whether `found` is the beginning of `expected`. A run may begin with any of its members; if its end is not
/// certain, its members may be in any order.
fn is_beginning(mut found: &[Plain], mut expected: &[Plain], is_certain: bool) -> bool {
    while let ([_, ..], Some(first)) = (found, expected.first()) {
        let count = expected.iter().take_while(|other| is_run(first, other)).count().max(1);
        let (run, rest) = expected.split_at(count);
        let (part, left) = found.split_at(count.min(found.len()));
        let is_rotated = || [run, run].concat().windows(part.len()).any(|window| window == part);
        let mut unseen = run.to_vec();
        let mut is_there = |record| {
            let at = unseen.iter().position(|other| other == record);
            at.map(|at| unseen.swap_remove(at)).is_some()
        };
        if !(if is_certain { is_rotated() } else { part.iter().all(&mut is_there) }) {
            return false;
        }
        (found, expected) = (left, rest);
    }
    found.is_empty()
}

impl Client<'_> {
    fn opt_length(&self) -> usize {
        if self.query.edns.is_some() { OPT_LENGTH } else { 0 }
    }
}

/// The TTL with which a record is stored: within the limits if it decides the lifetime of the answer,
/// otherwise at most the maximum.
fn ttl(record: &walk::Record, lifetime: Lifetime, limits: &TtlLimits) -> u32 {
    // RFC 2181 section 8: a TTL with the highest bit set counts as zero.
    let ttl = if record.ttl >> 31 == 1 { 0 } else { record.ttl };
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).expect("a setting");
    match lifetime {
        Lifetime::Negative(most) => ttl.min(most),
        Lifetime::Positive(_) if record.section == 0 => {
            ttl.min(seconds(limits.max_ttl)).max(seconds(limits.min_ttl))
        }
        Lifetime::Positive(_) | Lifetime::Uncached => ttl.min(seconds(limits.max_ttl)),
    }
}
