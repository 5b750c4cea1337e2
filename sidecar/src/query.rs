//! Parses bytes to a [`Query`], or says why not. There is no other way to get a `Query`.
//!
//! Cheap checks come first, each with its own response:
//!
//! | message | response |
//! |---|---|
//! | fewer bytes than a header | none: there is no id to answer |
//! | a response (QR set) | none: two servers that answer responses would send to each other forever |
//! | an OPCODE other than QUERY | NOTIMP (RFC 1035 section 4.1.1) |
//! | QDCOUNT other than 1 | FORMERR (RFC 9619 section 4) |
//! | a question that is cut off, compressed or too long | FORMERR |
//! | records in the answer or authority section | FORMERR: a query has none |
//! | two OPT records, or one whose name is not the root | FORMERR (RFC 6891 section 6.1.1) |
//! | bytes behind the last record, or behind the last EDNS option | FORMERR |
//! | an unknown EDNS version | BADVERS (RFC 6891 section 6.1.3) |
//! | a type that no record can have: 0 and 65535 (RFC 6895 section 3.1), OPT, TSIG, NXNAME (RFC 9824) | FORMERR |
//! | AXFR or IXFR | NOTIMP: a zone is not one message |
//! | TKEY | NOTIMP: a client agrees on a key with one server (RFC 2930) |
//! | a signed query (TSIG, SIG(0)) | NOTIMP: the proxy could not sign its answer |
//!
//! Every other type is accepted, MAILA, MAILB, ANY and unassigned ones included: the upstream decides.

use podlocal_dns::key::Key;
use podlocal_dns::wire::{self, Flags, Malformed, Message, Rcode, Record, TYPE_OPT};

pub use podlocal_dns::search::PROBE_LABEL;

/// A well-formed query: the question, and everything on which the form of the answer depends.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The id of the query, for the answer.
    pub id: u16,
    /// The flags of the query.
    pub flags: Flags,
    /// The client's EDNS; `None` when the query has none.
    pub edns: Option<Edns>,
    /// The loop markers of the PodLocal DNS proxies that the query has passed, the last one first. If one is
    /// the proxy's own, the query is in a loop.
    pub markers: &'a [u8],
    /// The key for the cache and for coalescing.
    pub key: Key,
    /// The question with the client's upper and lower case.
    pub question: &'a [u8],
}

/// The loop marker of a proxy, in an EDNS option: eight bytes of its own. The markers of the proxies from
/// which the query came follow, so that each of them recognizes the query when it comes back, whichever
/// servers it has passed.
pub type Marker = [u8; 8];

/// The code of that option, from the range for local use (RFC 6891 section 9), where other programs may use
/// it for something else; so a proxy compares the marker exactly.
pub const MARKER_OPTION: u16 = 65_353;

/// The client's EDNS (RFC 6891 section 6.1.2), without its options, which concern one hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message that the client accepts, in bytes.
    pub payload_size: u16,
    /// Whether the client asks for DNSSEC records (DO, RFC 3225).
    pub dnssec_ok: bool,
    /// Whether the client is a PodLocal DNS proxy, by its marker: it caches the answer for clients that
    /// accept larger messages.
    pub is_proxy: bool,
}

impl Edns {
    /// Reads the fixed fields of an OPT record.
    pub fn of(opt: &Record<'_>) -> Self {
        Self { payload_size: opt.class, dnssec_ok: opt.ttl & 0x8000 != 0, is_proxy: false }
    }
}

/// The response to bytes that are not an acceptable query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// No response at all.
    Silence,
    /// A response with this RCODE.
    Answer(Rcode),
}

const TYPE_SIG: u16 = 24;
const TYPE_NXNAME: u16 = 128;
const TYPE_TKEY: u16 = 249;
const TYPE_TSIG: u16 = 250;
const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;

impl<'a> Query<'a> {
    /// Parses one message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Rejected> {
        let message = Message::new(bytes).ok_or(Rejected::Silence)?;
        let flags = message.flags();
        if flags.has(Flags::QR) {
            return Err(Rejected::Silence);
        }
        if flags.opcode() != wire::OPCODE_QUERY {
            return Err(Rejected::Answer(Rcode::NOTIMP));
        }
        if message.question_count() != 1 {
            return Err(Rejected::Answer(Rcode::FORMERR));
        }
        let question = message.question().ok_or(Rejected::Answer(Rcode::FORMERR))?;
        let (edns, markers) = edns(message, question.len())?;
        let (rtype, _class) = wire::type_and_class(question);
        match rtype {
            0 | TYPE_OPT | TYPE_NXNAME | TYPE_TSIG | u16::MAX => {
                return Err(Rejected::Answer(Rcode::FORMERR));
            }
            TYPE_TKEY | TYPE_AXFR | TYPE_IXFR => return Err(Rejected::Answer(Rcode::NOTIMP)),
            _ => {}
        }
        Ok(Self {
            id: message.id(),
            flags,
            edns,
            markers,
            key: Key::new(question, flags, edns.is_some_and(|edns| edns.dnssec_ok)),
            question,
        })
    }

    /// The client's part of the query, on which the form of the answer depends.
    pub fn client(&self) -> Client<'a> {
        Client { id: self.id, flags: self.flags, edns: self.edns, question: self.question }
    }
}

/// The part of a query by which the answers to several clients with the same question differ.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The id of the query, for the answer.
    pub id: u16,
    /// The flags of the query.
    pub flags: Flags,
    /// The client's EDNS; `None` when the query has none.
    pub edns: Option<Edns>,
    /// The question with the client's upper and lower case.
    pub question: &'a [u8],
}

impl Client<'_> {
    /// Whether the client understands the AD flag: its query has AD or DO (RFC 6840 section 5.7).
    pub fn understands_authentic_data(&self) -> bool {
        self.flags.has(Flags::AD) || self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The name with the client's upper and lower case.
    pub fn name(&self) -> &[u8] {
        self.question.get(..self.question.len().saturating_sub(4)).unwrap_or_default()
    }

    /// A copy to keep while the client waits for the answer to the question of that key.
    pub fn stored(&self, key: &Key) -> StoredClient {
        let Self { id, flags, edns, question } = *self;
        let has_upper_case = question != key.question();
        StoredClient { id, flags, edns, question: has_upper_case.then(|| question.into()) }
    }
}

/// An owned [`Client`], without its key.
#[derive(Debug)]
pub struct StoredClient {
    id: u16,
    flags: Flags,
    edns: Option<Edns>,
    /// The question, if it has upper-case letters.
    question: Option<Box<[u8]>>,
}

impl StoredClient {
    /// The client, which has asked for the question of that key.
    pub fn with_key<'a>(&'a self, key: &'a Key) -> Client<'a> {
        let Self { id, flags, edns, question } = self;
        let question = question.as_deref().unwrap_or_else(|| key.question());
        Client { id: *id, flags: *flags, edns: *edns, question }
    }
}

impl<'a> From<&Query<'a>> for Client<'a> {
    fn from(query: &Query<'a>) -> Self {
        query.client()
    }
}

/// Walks the records of a query, of which only an OPT record matters.
fn edns(message: Message<'_>, question_length: usize) -> Result<(Option<Edns>, &[u8]), Rejected> {
    let formerr = Rejected::Answer(Rcode::FORMERR);
    let [answers, authorities, _] = message.record_counts();
    if answers != 0 || authorities != 0 {
        return Err(formerr);
    }
    let mut edns = None;
    let mut found: &[u8] = &[];
    let mut version = 0;
    let mut records = message.whole_records(question_length);
    for record in records.by_ref() {
        let record = record.map_err(|_| formerr)?;
        match record.rtype {
            TYPE_OPT if edns.is_some() || !record.is_root => return Err(formerr),
            TYPE_OPT => {
                edns = Some(Edns::of(&record));
                version = (record.ttl >> 16) as u8;
                // Another version may have another format of options.
                if version == 0 {
                    found = markers(record.rdata).map_err(|_| formerr)?;
                }
            }
            TYPE_TSIG | TYPE_SIG => return Err(Rejected::Answer(Rcode::NOTIMP)),
            _ => {}
        }
    }
    if records.position() != message.bytes().len() {
        return Err(formerr);
    }
    if version != 0 {
        return Err(Rejected::Answer(Rcode::BADVERS));
    }
    let is_proxy = !found.is_empty();
    Ok((edns.map(|edns| Edns { is_proxy, ..edns }), found))
}

/// Walks the options of an OPT record, of which only the markers matter.
fn markers(rdata: &[u8]) -> Result<&[u8], Malformed> {
    let mut found: &[u8] = &[];
    for option in wire::options(rdata) {
        match option? {
            (MARKER_OPTION, data) if data.len() % size_of::<Marker>() == 0 && !data.is_empty() => {
                found = data;
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A query for `name` (labels with dots between them), type A, class IN, RD set, id 7, then `records`.
    pub(crate) fn query_bytes(name: &str, additional: u8, records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        bytes.extend_from_slice(records);
        bytes
    }

    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    #[test]
    fn a_query_keeps_its_case_and_its_edns() {
        let bytes = query_bytes("Api.Example.COM", 1, OPT);
        let query = Query::parse(&bytes).expect("a query");
        assert_eq!(query.question, b"\x03Api\x07Example\x03COM\x00\x00\x01\x00\x01");
        assert_eq!(query.edns, Some(Edns { payload_size: 1232, dnssec_ok: true, is_proxy: false }));
        assert_eq!(query.id, 7);
    }

    /// The rows of the table at the top.
    #[test]
    fn every_refusal_has_its_reason() {
        let changed = |at: usize, value: u8| {
            let mut bytes = query_bytes("a", 0, b"\x01b\x00\x00\x01\x00\x01");
            bytes[at] = value;
            bytes
        };
        let records = |count, records: &[u8]| query_bytes("a", count, records);
        let with_options = |options: &[u8]| records(1, &opt_with(options));
        let named_opt = b"\xc0\x0c\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        let version_one = b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00";
        let (silence, answer) = (Rejected::Silence, Rejected::Answer);
        for (what, bytes, expected) in [
            ("nothing", vec![], silence),
            ("a short message", query_bytes("a", 0, &[])[..11].to_vec(), silence),
            ("a response", changed(2, 0x81), silence),
            ("NOTIFY", changed(2, 4 << 3), answer(Rcode::NOTIMP)),
            ("RFC 9619: no question", changed(5, 0), answer(Rcode::FORMERR)),
            ("RFC 9619: two questions", changed(5, 2), answer(Rcode::FORMERR)),
            ("RFC 9619: 255 questions", changed(5, 255), answer(Rcode::FORMERR)),
            ("bytes behind the query", records(0, b"x"), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.1: two OPT records", records(2, &OPT.repeat(2)), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.2: an owner name", records(1, named_opt), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.2: half an option", with_options(b"\x00"), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.2: short data", with_options(b"\x00\x0a\x00\x08c"), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.2: a byte more", with_options(b"\x00\x0a\x00\x00\x00"), answer(Rcode::FORMERR)),
            ("RFC 6891 6.1.3: version 1", records(1, version_one), answer(Rcode::BADVERS)),
            ("AXFR", query_of_type(TYPE_AXFR), answer(Rcode::NOTIMP)),
            ("IXFR", query_of_type(TYPE_IXFR), answer(Rcode::NOTIMP)),
            ("TKEY", query_of_type(TYPE_TKEY), answer(Rcode::NOTIMP)),
            ("RFC 6895 3.1: type 0", query_of_type(0), answer(Rcode::FORMERR)),
            ("RFC 6895 3.1: type 65535", query_of_type(u16::MAX), answer(Rcode::FORMERR)),
            ("RFC 6895 3.1: OPT", query_of_type(TYPE_OPT), answer(Rcode::FORMERR)),
            ("RFC 6895 3.1: TSIG", query_of_type(TYPE_TSIG), answer(Rcode::FORMERR)),
            ("RFC 6895 3.1: NXNAME", query_of_type(TYPE_NXNAME), answer(Rcode::FORMERR)),
        ] {
            assert_eq!(Query::parse(&bytes).err(), Some(expected), "{what}");
        }
        let bytes = query_bytes("api.example.com", 1, OPT);
        for length in 12..bytes.len() {
            let refused = Query::parse(&bytes[..length]).err();
            assert_eq!(refused, Some(answer(Rcode::FORMERR)), "cut to {length}");
        }
    }

    /// An OPT record with that data.
    fn opt_with(rdata: &[u8]) -> Vec<u8> {
        let mut record = OPT.to_vec();
        record[10] = rdata.len() as u8;
        record.extend_from_slice(rdata);
        record
    }

    #[test]
    fn a_marker_is_kept_and_other_options_are_not() {
        let cookie = b"\x00\x0a\x00\x08cccccccc".as_slice();
        let marker = b"\xff\x49\x00\x08mmmmmmmm".as_slice();
        let two = b"\xff\x49\x00\x10mmmmmmmmnnnnnnnn".as_slice();
        let short = b"\xff\x49\x00\x03mmm".as_slice();
        for (options, expected) in [
            (vec![], b"".as_slice()),
            (vec![cookie], b""),
            (vec![short], b""),
            (vec![marker], b"mmmmmmmm"),
            (vec![cookie, marker, short], b"mmmmmmmm"),
            (vec![two], b"mmmmmmmmnnnnnnnn"),
        ] {
            let bytes = query_bytes("a", 1, &opt_with(&options.concat()));
            let query = Query::parse(&bytes).expect("a query");
            assert_eq!(query.markers, expected, "{options:?}");
        }
    }

    /// A query for that type.
    fn query_of_type(rtype: u16) -> Vec<u8> {
        let mut bytes = query_bytes("a", 0, &[]);
        let at = bytes.len() - 4;
        bytes[at..at + 2].copy_from_slice(&rtype.to_be_bytes());
        bytes
    }

    #[test]
    fn unassigned_and_obsolete_types_are_accepted() {
        for rtype in [3, 127, 129, 248, 253, 254, 255, 61_440, 65_280, 65_534] {
            assert!(Query::parse(&query_of_type(rtype)).is_ok(), "{rtype}");
        }
    }
}
