//! The message of a query to an upstream, and the check whether a message answers it.

use podlocal_dns::key::Key;
use podlocal_dns::wire::{self, Flags, HEADER_LENGTH, Message, Rcode, Reading};

use super::loop_detection::LoopMarker;
use super::random;
use super::spoofing::Stray;
use crate::metrics::Unwanted;
use crate::query::MARKER_OPTION;
use crate::reply::PAYLOAD_SIZE;

/// An OPT record with one marker: eleven bytes, four for the option's header and eight for its data.
const OPT_ROOM: usize = 23;

/// The sidecar's own form of a client's question. The id is random, and AD is always set, since cache keys do
/// not differ in it. EDNS is the sidecar's own (RFC 6891 section 7: EDNS concerns one hop), with a loop
/// marker in an option.
#[derive(Debug)]
pub struct QueryMessage<'a> {
    key: &'a Key,
    marker: LoopMarker,
    variant: Variant,
}

/// What differs between two messages with the same question to the same server.
#[derive(Debug, Clone, Default)]
pub struct Variant {
    id: u16,
    /// Which letters of the name are upper case, bit by bit, starting again after 64; 0: all letters are
    /// lower case, as in the key.
    upper: u64,
    /// The markers of other proxies in the client's query.
    forwarded: Box<[u8]>,
}

impl<'a> QueryMessage<'a> {
    /// A query for the question of that key, with a random id (RFC 5452 section 9.2).
    pub fn new(key: &'a Key, marker: LoopMarker) -> std::io::Result<Self> {
        Ok(Self { key, marker, variant: Variant { id: random::id()?, ..Variant::default() } })
    }

    /// The message of [`QueryMessage::into_variant`] again.
    pub fn from_variant(key: &'a Key, marker: LoopMarker, variant: Variant) -> Self {
        Self { key, marker, variant }
    }

    /// The part that differs, to make the same message again.
    pub fn into_variant(self) -> Variant {
        self.variant
    }

    /// The question, on the wire and in lower case.
    pub fn question(&self) -> &'a [u8] {
        self.key.question()
    }

    /// The id of the message.
    pub fn id(&self) -> u16 {
        self.variant.id
    }

    /// Replaces the id.
    pub fn set_id(&mut self, id: u16) {
        self.variant.id = id;
    }

    /// The same query with random upper-case letters in the name.
    pub fn with_random_case(mut self) -> std::io::Result<Self> {
        for _ in 0..size_of::<u64>() / size_of::<u16>() {
            self.variant.upper = self.variant.upper << u16::BITS | u64::from(random::id()?);
        }
        Ok(self)
    }

    /// The same query with the markers of other proxies behind its own.
    #[must_use]
    pub fn with_forwarded_markers(mut self, forwarded: Box<[u8]>) -> Self {
        self.variant.forwarded = forwarded;
        self
    }

    /// The bytes of the message; without EDNS for servers that do not support it (RFC 6891 section 6.2.2).
    pub fn bytes(&self, with_edns: bool) -> Vec<u8> {
        let length = HEADER_LENGTH + self.question().len() + OPT_ROOM + self.variant.forwarded.len();
        let mut bytes = Vec::with_capacity(length);
        self.write(with_edns, &mut bytes);
        bytes
    }

    /// Writes the bytes of the message in place of what is there.
    pub fn write(&self, with_edns: bool, out: &mut Vec<u8>) {
        let key = self.key;
        let mut flags = Flags::AD;
        if key.recursion_desired() {
            flags |= Flags::RD;
        }
        if key.checking_disabled() {
            flags |= Flags::CD;
        }
        out.clear();
        out.resize(HEADER_LENGTH, 0);
        wire::put_header(out, self.variant.id, Flags(flags));
        wire::put_counts(out, 1, [0; 3]);
        if self.variant.upper == 0 {
            out.extend_from_slice(key.question());
        } else {
            out.extend_from_slice(self.spelled(&mut [0; wire::LONGEST_QUESTION]));
        }
        if with_edns {
            wire::push_opt(out, PAYLOAD_SIZE, 0, key.dnssec_ok());
            match &*self.variant.forwarded {
                [] => wire::push_option(out, MARKER_OPTION, self.marker.bytes()),
                forwarded => {
                    wire::push_option(out, MARKER_OPTION, &[self.marker.bytes(), forwarded].concat());
                }
            }
        }
    }

    /// Checks a message from the server.
    ///
    /// | message (id, QR and OPCODE are right) | verdict |
    /// |---|---|
    /// | a failure for this question, or without any question | accepted |
    /// | truncated (TC), for this question | accepted, wherever it is cut off: TCP brings the whole answer |
    /// | NOERROR or NXDOMAIN for this question, with a complete answer section | accepted: clients read no more than that |
    /// | anything else | ignored: it belongs to another query, or is forged |
    ///
    /// RFC 5452 section 9.1: the id and the whole question must match; names are compared without regard to
    /// case. (The address matches because the socket is connected.) A failure contains nothing that could
    /// poison the cache.
    pub fn check_response(&self, bytes: &[u8]) -> ResponseVerdict {
        let Some(message) = Message::new(bytes) else { return ResponseVerdict::stray(Unwanted::Malformed) };
        if !is_response(message) {
            return ResponseVerdict::stray(Unwanted::Malformed);
        }
        let is_ours = |question: &[u8]| is_same_question(question, self.key.question());
        let is_answered = message.question_count() == 1 && message.question().is_some_and(is_ours);
        if message.id() != self.variant.id {
            return ResponseVerdict::Ignore(Stray { reason: Unwanted::Id, is_near_miss: is_answered });
        }
        let reading = message.read();
        let is_failure = !matches!(reading.rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN);
        // Some servers copy the counts of the query into a header that they send alone.
        let is_header_alone = message.question_count() == 0 || bytes.len() == HEADER_LENGTH;
        // Some servers copy the ARCOUNT of the query and send no record for it.
        match (is_failure, is_answered) {
            (true, true) => ResponseVerdict::Accept(reading),
            (true, false) if is_header_alone => ResponseVerdict::Accept(reading),
            (false, true) if message.flags().has(Flags::TC) || reading.has_all_answers => {
                ResponseVerdict::Accept(reading)
            }
            (_, true) => ResponseVerdict::stray(Unwanted::Malformed),
            (_, false) => ResponseVerdict::stray(Unwanted::Question),
        }
    }

    /// Whether a response repeats the question with the same upper-case letters; `None` where the name has no
    /// such letters.
    pub fn echoes_case(&self, response: &[u8]) -> Option<bool> {
        if self.variant.upper == 0 {
            return None;
        }
        let echoed = Message::new(response).and_then(Message::question)?;
        let mut buffer = [0; wire::LONGEST_QUESTION];
        let spelled = self.spelled(&mut buffer);
        (spelled != self.key.question()).then(|| echoed == spelled)
    }

    /// The question with the letters as they are sent.
    fn spelled<'b>(&self, buffer: &'b mut [u8; wire::LONGEST_QUESTION]) -> &'b [u8] {
        let question = self.key.question();
        let spelled = buffer.get_mut(..question.len()).unwrap_or_default();
        spelled.copy_from_slice(question);
        let name = spelled.iter_mut().take(question.len().saturating_sub(4));
        for (number, letter) in name.filter(|byte| byte.is_ascii_lowercase()).enumerate() {
            if self.variant.upper >> (number % 64) & 1 == 1 {
                letter.make_ascii_uppercase();
            }
        }
        spelled
    }

    /// Whether it carries markers of other proxies.
    pub fn has_forwarded_markers(&self) -> bool {
        !self.variant.forwarded.is_empty()
    }

    /// Whether the client asks for DNSSEC records (DO).
    pub fn dnssec_ok(&self) -> bool {
        self.key.dnssec_ok()
    }
}

/// An accepted response without its OPT record, which concerns one hop (RFC 6891 section 6.1.1): it ends
/// before that record, or before one that is cut off, and its counts are adjusted.
///
/// An RCODE of more than four bits becomes SERVFAIL: BADVERS and BADCOOKIE are about the sidecar's own EDNS,
/// and their lower bits alone would say NOERROR and YXRRSET (section 6.1.3).
///
/// Its question is in lower case, whatever case was sent: names that point to it must not show the random
/// letters.
pub fn without_opt(mut response: Vec<u8>, reading: &Reading) -> Vec<u8> {
    let length = remove_opt(&mut response, reading);
    response.truncate(length);
    response
}

/// The same in place; returns the length of the response.
pub fn remove_opt(response: &mut [u8], reading: &Reading) -> usize {
    if reading.rcode.0 > 0xf {
        wire::put_rcode(response, Rcode::SERVFAIL);
    }
    let question_length = Message::new(response).map_or(0, Message::question_length);
    if question_length == 0 {
        return response.len();
    }
    wire::put_counts(response, 1, reading.counts);
    wire::lower_case_question(response, question_length);
    reading.end.min(response.len())
}

/// Whether a message is a response to a query, by its flags.
pub fn is_response(message: Message<'_>) -> bool {
    let flags = message.flags();
    flags.has(Flags::QR) && flags.opcode() == wire::OPCODE_QUERY
}

/// Types and classes are compared exactly, because some of their bytes look like letters: HTTPS is 65, `A`,
/// and 97 is `a`.
pub fn is_same_question(one: &[u8], other: &[u8]) -> bool {
    wire::type_and_class(one) == wire::type_and_class(other) && one.eq_ignore_ascii_case(other)
}

/// Whether a message answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseVerdict {
    /// It answers the query.
    Accept(Reading),
    /// It is for another query, or malformed: the caller keeps listening.
    Ignore(Stray),
}

impl ResponseVerdict {
    fn stray(reason: Unwanted) -> Self {
        Self::Ignore(Stray { reason, is_near_miss: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x01\x00\x01";

    fn question(key: &Key) -> QueryMessage<'_> {
        QueryMessage::new(key, LoopMarker::new().expect("random")).expect("random")
    }

    fn is_accepted(question: &QueryMessage<'_>, bytes: &[u8]) -> bool {
        matches!(question.check_response(bytes), ResponseVerdict::Accept(_))
    }

    fn key() -> Key {
        Key::new(QUESTION, Flags(Flags::RD), true)
    }

    /// The server's answer: the bytes of the query with QR set.
    fn answer(question: &QueryMessage<'_>, rcode: Rcode) -> Vec<u8> {
        let mut bytes = question.bytes(false);
        wire::put_header(&mut bytes, question.id(), Flags(Flags::QR | u16::from(rcode.0)));
        bytes
    }

    #[test]
    fn queries_carry_the_proxys_edns_and_the_clients_do_bit() {
        let key = key();
        let asked = hickory_proto::op::Message::from_vec(&question(&key).bytes(true));
        let asked = asked.expect("decodes");
        let edns = asked.edns.as_ref().expect("EDNS");
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
        assert!(asked.metadata.recursion_desired && asked.metadata.authentic_data);
    }

    #[test]
    fn rfc5452_9_1_id_and_question_must_match() {
        let key = key();
        let question = question(&key);
        let good = answer(&question, Rcode::NO_ERROR);
        assert!(is_accepted(&question, &good));
        assert!(!is_accepted(&question, &good.to_ascii_uppercase()[..0]));
        let mut other_case = good.clone();
        other_case[13] = b'A';
        assert!(is_accepted(&question, &other_case));
        for (at, what) in
            [(0, "another id"), (13, "another name"), (24, "another type"), (26, "another class")]
        {
            let mut spoofed = good.clone();
            spoofed[at] ^= 0x02;
            assert!(!is_accepted(&question, &spoofed), "{what}");
        }
        let mut query = good.clone();
        query[2] &= 0x7f;
        assert!(!is_accepted(&question, &query), "a query is no answer");
        let mut two = good;
        two[5] = 2;
        assert!(!is_accepted(&question, &two), "two questions");
    }

    #[test]
    fn record_types_are_not_compared_like_letters() {
        let key = Key::new(b"\x01a\x00\x00\x41\x00\x01", Flags(Flags::RD), false);
        let question = question(&key);
        let mut bytes = answer(&question, Rcode::NO_ERROR);
        assert!(is_accepted(&question, &bytes));
        bytes[16] = 0x61;
        assert!(!is_accepted(&question, &bytes), "97 is not 65, HTTPS");
    }

    #[test]
    fn a_malformed_answer_is_ignored() {
        let key = key();
        let question = question(&key);
        for rcode in [Rcode::NO_ERROR, Rcode::NXDOMAIN] {
            let mut bytes = answer(&question, rcode);
            bytes[7] = 1;
            assert!(!is_accepted(&question, &bytes));
        }
    }

    #[test]
    fn an_answer_with_incomplete_later_sections_is_accepted() {
        let key = key();
        let question = question(&key);
        let record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01";
        for (counts, more) in [([1, 0, 1], 0), ([1, 1, 0], 0), ([1, 1, 1], 5), ([1, 0, 9], 15)] {
            let mut bytes = answer(&question, Rcode::NO_ERROR);
            wire::put_counts(&mut bytes, 1, counts);
            bytes.extend_from_slice(record);
            let end = bytes.len();
            bytes.extend_from_slice(&record[..more]);
            assert!(is_accepted(&question, &bytes), "{counts:?}");
            let whole = without_opt(bytes.clone(), &Message::new(&bytes).expect("a message").read());
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!((whole.len(), decoded.answers.len(), decoded.additionals.len()), (end, 1, 0));
        }
    }

    #[test]
    fn a_truncated_answer_is_accepted_wherever_it_is_cut_off() {
        let key = key();
        let question = question(&key);
        let mut bytes = answer(&question, Rcode::NO_ERROR);
        wire::set_flag(&mut bytes, Flags::TC);
        wire::put_counts(&mut bytes, 1, [2, 1, 1]);
        let end = bytes.len();
        bytes.extend_from_slice(
            &b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01".repeat(2),
        );
        for length in end..=bytes.len() {
            let cut = &bytes[..length];
            assert!(is_accepted(&question, cut), "{length} bytes");
            let whole = without_opt(cut.to_vec(), &Message::new(cut).expect("a message").read());
            let records = (length - end) / 16;
            assert_eq!(whole.len(), end + 16 * records, "{length} bytes");
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!(decoded.answers.len(), records);
        }
        for length in 0..end {
            assert!(!is_accepted(&question, &bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_failure_is_accepted_without_the_question() {
        let key = key();
        let question = question(&key);
        for rcode in 0..16 {
            let is_failure = !matches!(Rcode(rcode), Rcode::NO_ERROR | Rcode::NXDOMAIN);
            for counts in [[0, 0], [1, 1]] {
                let mut header = answer(&question, Rcode(rcode));
                header.truncate(HEADER_LENGTH);
                wire::put_counts(&mut header, counts[0], [0, 0, counts[1]]);
                assert_eq!(is_accepted(&question, &header), is_failure, "RCODE {rcode}, counts {counts:?}");
                header[0] ^= 1;
                assert!(!is_accepted(&question, &header), "another id");
            }
            let mut other = answer(&question, Rcode(rcode));
            other[13] ^= 2;
            assert!(!is_accepted(&question, &other), "another name, RCODE {rcode}");
        }
    }
}
