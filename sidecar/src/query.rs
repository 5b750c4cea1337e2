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
pub(crate) mod tests;
