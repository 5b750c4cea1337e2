//! How long an answer is cached. Pure: a message and the limits in, a time out. Types, TTLs and the SOA's
//! MINIMUM decide; all other data is for the client, and is not interpreted here.
//!
//! | RCODE | answer section | SOA in authority | kind of answer | cached for |
//! |---|---|---|---|---|
//! | NOERROR | the queried type | any | an answer | its smallest TTL, within `min-ttl` and `max-ttl` |
//! | NOERROR | other records (an alias) | yes | NODATA at the end of an alias | the smaller of that and of the next line |
//! | NOERROR | nothing | yes | NODATA | the smaller of the SOA's TTL and MINIMUM, at most the negative limit |
//! | NXDOMAIN | anything | yes | NXDOMAIN | the same |
//! | NOERROR, NXDOMAIN | not the queried type | no | a referral, or a broken server | not at all (RFC 2308 section 5) |
//! | anything else, or truncated | | | a failure, or part of an answer | not at all (RFC 2181 section 9) |
//!
//! Only the answer section limits a positive answer; the TTLs of other sections age and stop at zero.

use std::time::Duration;

use podlocal_dns::wire::{self, Flags, Message, Rcode, Record, Section, TYPE_ANY, TYPE_OPT, TYPE_SOA};
use podlocal_settings::Settings;

/// The limits of the settings on TTLs.
#[derive(Debug, Clone)]
pub struct TtlLimits {
    /// The smallest TTL of a positive answer.
    pub min_ttl: Duration,
    /// The largest TTL of a positive answer.
    pub max_ttl: Duration,
    /// The largest TTL of a negative answer.
    pub max_negative_ttl: Duration,
    /// The cluster domain on the wire, in which a name that does not exist now may appear within seconds.
    pub zone: Vec<u8>,
}

impl TtlLimits {
    /// The limits of the settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl,
            max_negative_ttl: settings.max_negative_ttl,
            zone: wire::zone(&settings.cluster_domain),
        }
    }
}

/// The largest TTL of a negative answer in the cluster domain: clients must find a new Service or headless
/// pod soon (kubernetes/kubernetes#74092, #92559).
const CLUSTER_NEGATIVE_MAX_TTL: Duration = Duration::from_secs(5);

/// Whether and how long an answer is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Not at all: it answers its own query only.
    Uncached,
    /// It is positive, for so many whole seconds.
    Positive(u32),
    /// It is negative, for so many whole seconds.
    Negative(u32),
}

/// How long `message` is cached as the answer to its own question. Records behind the OPT record are dropped
/// and do not count.
pub fn lifetime(message: Message<'_>, limits: &TtlLimits) -> Lifetime {
    let Some(question) = message.question() else { return Lifetime::Uncached };
    let has_name = match message.rcode() {
        Rcode::NO_ERROR => true,
        Rcode::NXDOMAIN => false,
        _ => return Lifetime::Uncached,
    };
    if message.flags().has(Flags::TC) {
        return Lifetime::Uncached;
    }
    let (wanted, _class) = wire::type_and_class(question);
    let (mut answer_ttl, mut has_wanted, mut soa_ttl) = (None::<u32>, false, None);
    let records = message.records(question.len()).map_while(Result::ok);
    for record in records.take_while(|record| record.rtype != TYPE_OPT) {
        match record.section {
            Section::Answer => {
                let ttl = whole(record.ttl);
                answer_ttl = Some(answer_ttl.map_or(ttl, |least| least.min(ttl)));
                has_wanted |= record.rtype == wanted || wanted == TYPE_ANY;
            }
            Section::Authority if has_name && has_wanted => break,
            Section::Authority => soa_ttl = soa_ttl.or_else(|| negative_ttl(record)),
            Section::Additional => break,
        }
    }
    if has_name && has_wanted {
        let (smallest, largest) = (seconds(limits.min_ttl), seconds(limits.max_ttl));
        return non_zero(answer_ttl.unwrap_or_default().clamp(smallest, largest), Lifetime::Positive);
    }
    let Some(soa_ttl) = soa_ttl else { return Lifetime::Uncached };
    let mut most = limits.max_negative_ttl;
    if is_in(question, &limits.zone) {
        most = most.min(CLUSTER_NEGATIVE_MAX_TTL);
    }
    non_zero(soa_ttl.min(answer_ttl.unwrap_or(u32::MAX)).min(seconds(most)), Lifetime::Negative)
}

/// Whether the name of a question, in any case of the letters, is that zone or below it.
fn is_in(question: &[u8], zone: &[u8]) -> bool {
    let Some((name, _type_and_class)) = question.split_last_chunk::<4>() else { return false };
    let mut name = name.to_vec();
    wire::lower_case(&mut name);
    wire::end_at(&name, zone).is_some()
}

impl Lifetime {
    /// The TTL in whole seconds; 0: not cached.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Uncached => 0,
            Self::Positive(seconds) | Self::Negative(seconds) => seconds,
        }
    }

    /// The initial TTL of one record of the message, so that no client caches it longer than the sidecar.
    pub fn record_ttl(self, ttl: u32, is_answer: bool, limits: &TtlLimits) -> u32 {
        let ttl = whole(ttl);
        match self {
            Self::Positive(_) if is_answer => ttl.clamp(seconds(limits.min_ttl), seconds(limits.max_ttl)),
            Self::Positive(_) | Self::Uncached => ttl.min(seconds(limits.max_ttl)),
            Self::Negative(seconds) => ttl.min(seconds),
        }
    }
}

/// RFC 2308 section 5: the SOA's own TTL or its MINIMUM, whichever is smaller.
fn negative_ttl(record: Record<'_>) -> Option<u32> {
    let is_soa = record.rtype == TYPE_SOA && record.rdata.len() >= SHORTEST_SOA;
    let minimum = wire::last_u32(record.rdata).filter(|_| is_soa)?;
    Some(whole(record.ttl).min(minimum))
}

/// The length of an SOA record's data with two names of one byte each (RFC 1035 section 3.3.13).
const SHORTEST_SOA: usize = 2 + 5 * size_of::<u32>();

/// RFC 2181 section 8: a TTL with its highest bit set counts as zero.
fn whole(ttl: u32) -> u32 {
    if ttl >> 31 == 0 { ttl } else { 0 }
}

fn non_zero(seconds: u32, lifetime: fn(u32) -> Lifetime) -> Lifetime {
    if seconds == 0 { Lifetime::Uncached } else { lifetime(seconds) }
}

/// Whole seconds; the limits of the settings keep the value far below the maximum.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Lifetime, TtlLimits};
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME, SOA};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use podlocal_dns::wire;
    use podlocal_settings::Settings;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn lifetime(message: &Message, limits: &TtlLimits) -> Lifetime {
        of_bytes(&message.to_vec().expect("encodes"), limits)
    }

    fn of_bytes(bytes: &[u8], limits: &TtlLimits) -> Lifetime {
        super::lifetime(wire::Message::new(bytes).expect("a header"), limits)
    }

    fn limits() -> TtlLimits {
        TtlLimits::new(&Settings::defaults())
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn message(
        question: &str,
        rcode: ResponseCode,
        answers: Vec<Record>,
        authorities: Vec<Record>,
    ) -> Message {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.metadata.response_code = rcode;
        message.add_query(Query::query(name(question), RecordType::A));
        message.insert_answers(answers);
        message.insert_authorities(authorities);
        message
    }

    fn a(ttl: u32) -> Record {
        Record::from_rdata(name("x.example."), ttl, RData::A(A(Ipv4Addr::LOCALHOST)))
    }

    fn alias(ttl: u32) -> Record {
        Record::from_rdata(name("x.example."), ttl, RData::CNAME(CNAME(name("y.example."))))
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let soa = SOA::new(name("ns.example."), name("admin.example."), 1, 1, 1, 1, minimum);
        Record::from_rdata(name("example."), ttl, RData::SOA(soa))
    }

    #[test]
    fn a_lifetime_follows_rcode_ttls_and_soa() {
        use Lifetime::{Negative, Positive, Uncached};
        use ResponseCode::{FormErr, NXDomain, NoError, NotImp, Refused, ServFail};
        let say = |rcode, answers, authorities| message("x.example.", rcode, answers, authorities);
        let negative = |rcode, ttl, minimum| say(rcode, vec![], vec![soa(ttl, minimum)]);
        let in_cluster = |name| message(name, NXDomain, vec![], vec![soa(30, 30)]);
        let failure = |rcode| say(rcode, vec![a(60)], vec![soa(9, 9)]);
        let mut truncated = say(NoError, vec![a(60)], vec![]);
        truncated.metadata.truncation = true;
        let table = [
            ("the smallest TTL", say(NoError, vec![a(300), a(60)], vec![]), Positive(60)),
            ("an alias counts", say(NoError, vec![alias(5), a(60)], vec![soa(1, 1)]), Positive(5)),
            ("max-ttl", say(NoError, vec![a(100_000)], vec![]), Positive(3600)),
            ("RFC 1035 3.2.1", say(NoError, vec![a(0)], vec![]), Uncached),
            ("RFC 2181 8: the highest bit", say(NoError, vec![a(1 << 31)], vec![]), Uncached),
            ("RFC 2308 5: the minimum", negative(NXDomain, 20, 7), Negative(7)),
            ("RFC 2308 5: the minimum", negative(NoError, 20, 7), Negative(7)),
            ("RFC 2308 5: the TTL", negative(NXDomain, 7, 20), Negative(7)),
            ("max-negative-ttl", negative(NoError, 900, 900), Negative(30)),
            ("RFC 2308 5: no SOA", say(NXDomain, vec![], vec![]), Uncached),
            ("RFC 2308 5: no SOA", say(NoError, vec![], vec![]), Uncached),
            ("a missing Service", in_cluster("x.default.svc.cluster.local."), Negative(5)),
            ("the cluster domain", in_cluster("X.Cluster.Local."), Negative(5)),
            ("NODATA behind an alias", say(NoError, vec![alias(3)], vec![soa(20, 20)]), Negative(3)),
            ("the same without SOA", say(NoError, vec![alias(3)], vec![]), Uncached),
            ("a failure", failure(ServFail), Uncached),
            ("a failure", failure(Refused), Uncached),
            ("a failure", failure(FormErr), Uncached),
            ("a failure", failure(NotImp), Uncached),
            ("RFC 2181 9: truncated", truncated, Uncached),
        ];
        for (rule, message, expected) in table {
            assert_eq!(lifetime(&message, &limits()), expected, "{rule}: {message:?}");
        }
        let limits = TtlLimits { min_ttl: Duration::from_secs(10), ..limits() };
        assert_eq!(lifetime(&say(NoError, vec![a(0)], vec![]), &limits), Positive(10), "min-ttl");
    }

    /// A well-formed record with that data.
    fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
        let head = [0xc00c, rtype, 1, 0, 20, data.len() as u16].map(u16::to_be_bytes);
        [head.as_flattened(), data].concat()
    }

    #[test]
    fn unknown_data_does_not_change_the_ttl() {
        let answer = message("x.example.", ResponseCode::NoError, vec![a(60)], vec![]);
        let odd = [
            (16, b"".as_slice()),                              // TXT without a string
            (1, b"\x01\x02\x03\x04\x05"),                      // an address of five bytes
            (257, b"\x00\x09"),                                // CAA whose tag is cut off
            (65, b"\x00\x01\x00\x00\x03\x00\x03\x01\xbb\x00"), // HTTPS with a port of three bytes
            (41, b"\x00\x08\x00\x02\x00\x09"),                 // an EDNS option that is cut off
        ];
        for (rtype, data) in odd {
            let mut bytes = answer.to_vec().expect("encodes");
            bytes[11] += 1;
            bytes.extend(record(rtype, data));
            assert_eq!(of_bytes(&bytes, &limits()), Lifetime::Positive(60), "type {rtype}");
        }
        for (length, expected) in [(21, Lifetime::Uncached), (22, Lifetime::Negative(7))] {
            let no_data = message("x.example.", ResponseCode::NoError, vec![], vec![]);
            let mut bytes = no_data.to_vec().expect("encodes");
            bytes[9] = 1;
            let mut soa = vec![0; length];
            soa[length - 1] = 7;
            bytes.extend(record(6, &soa));
            assert_eq!(of_bytes(&bytes, &limits()), expected, "an SOA of {length} bytes");
        }
    }

    #[test]
    fn answers_behind_an_opt_record_are_dropped() {
        let mut bytes =
            message("x.example.", ResponseCode::NoError, vec![], vec![]).to_vec().expect("encodes");
        bytes[7] = 2;
        bytes.extend(record(41, b""));
        bytes.extend(record(1, b"\x0a\x00\x00\x01"));
        assert_eq!(of_bytes(&bytes, &limits()), Lifetime::Uncached);
    }
}
