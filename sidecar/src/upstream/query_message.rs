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

/// The sidecar's own form of a client's question: all of it but the question, which is that of a key. The id
/// is random, and AD is always set, since cache keys do not differ in it. EDNS is the sidecar's own (RFC 6891
/// section 7: EDNS concerns one hop), with a loop marker in an option.
#[derive(Debug)]
pub struct QueryMessage {
    /// The id: random (RFC 5452 section 9.2).
    pub id: u16,
    /// Whether it has EDNS: some servers do not support it (RFC 6891 section 6.2.2).
    pub with_edns: bool,
    /// The markers of other proxies in the client's query, which follow its own.
    pub forwarded: Box<[u8]>,
    marker: LoopMarker,
    /// Which letters of the name are upper case, bit by bit, starting again after 64; 0: all letters are
    /// lower case, as in the key.
    upper: u64,
}

impl QueryMessage {
    /// A query with a random id.
    pub fn new(marker: LoopMarker, with_edns: bool) -> std::io::Result<Self> {
        Ok(Self { id: random::id()?, with_edns, forwarded: Box::default(), marker, upper: 0 })
    }

    /// Makes random letters of the name upper case.
    pub fn randomize_case(&mut self) -> std::io::Result<()> {
        for _ in 0..size_of::<u64>() / size_of::<u16>() {
            self.upper = self.upper << u16::BITS | u64::from(random::id()?);
        }
        Ok(())
    }

    /// The bytes of the message for the question of that key.
    pub fn bytes(&self, key: &Key) -> Vec<u8> {
        let length = HEADER_LENGTH + key.question().len() + OPT_ROOM + self.forwarded.len();
        let mut bytes = Vec::with_capacity(length);
        self.write(key, &mut bytes);
        bytes
    }

    /// Writes these bytes in place of what is there.
    pub fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let mut flags = Flags::AD;
        if key.recursion_desired() {
            flags |= Flags::RD;
        }
        if key.checking_disabled() {
            flags |= Flags::CD;
        }
        out.clear();
        out.resize(HEADER_LENGTH, 0);
        wire::put_header(out, self.id, Flags(flags));
        wire::put_counts(out, 1, [0; 3]);
        if self.upper == 0 {
            out.extend_from_slice(key.question());
        } else {
            out.extend_from_slice(self.spelled(key, &mut [0; wire::LONGEST_QUESTION]));
        }
        if self.with_edns {
            wire::push_opt(out, PAYLOAD_SIZE, 0, key.dnssec_ok());
            match &*self.forwarded {
                [] => wire::push_option(out, MARKER_OPTION, self.marker.bytes()),
                forwarded => {
                    wire::push_option(out, MARKER_OPTION, &[self.marker.bytes(), forwarded].concat());
                }
            }
        }
    }

    /// Checks a message from the server.
    ///
    /// | message (id, QR and OPCODE are right) | it is |
    /// |---|---|
    /// | a failure for this question, or without any question | accepted |
    /// | truncated (TC), for this question | accepted, wherever it is cut off: TCP brings the whole answer |
    /// | NOERROR or NXDOMAIN for this question, with a complete answer section | accepted: clients read no more than that |
    /// | anything else | ignored: it belongs to another query, or is forged |
    ///
    /// RFC 5452 section 9.1: the id and the whole question must match; names are compared without regard to
    /// case. (The address matches because the socket is connected.) A failure contains nothing that could
    /// poison the cache.
    ///
    /// # Errors
    ///
    /// It is to be ignored.
    pub fn check_response(&self, key: &Key, bytes: &[u8]) -> Result<Reading, Stray> {
        let stray = |reason| Err(Stray { reason, is_near_miss: false });
        let Some(message) = Message::new(bytes).filter(|message| is_response(*message)) else {
            return stray(Unwanted::Malformed);
        };
        let is_ours = |question: &[u8]| is_same_question(question, key.question());
        let is_answered = message.question_count() == 1 && message.question().is_some_and(is_ours);
        if message.id() != self.id {
            return Err(Stray { reason: Unwanted::Id, is_near_miss: is_answered });
        }
        let reading = message.read();
        let is_failure = !matches!(reading.rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN);
        // Some servers copy the counts of the query into a header that they send alone.
        let is_header_alone = message.question_count() == 0 || bytes.len() == HEADER_LENGTH;
        // Some servers copy the ARCOUNT of the query and send no record for it.
        match (is_failure, is_answered) {
            (true, true) => Ok(reading),
            (true, false) if is_header_alone => Ok(reading),
            (false, true) if message.flags().has(Flags::TC) || reading.has_all_answers => Ok(reading),
            (_, true) => stray(Unwanted::Malformed),
            (_, false) => stray(Unwanted::Question),
        }
    }

    /// Whether a response repeats the question with the same upper-case letters; `None` where the name has no
    /// such letters.
    pub fn echoes_case(&self, key: &Key, response: &[u8]) -> Option<bool> {
        if self.upper == 0 {
            return None;
        }
        let echoed = Message::new(response).and_then(Message::question)?;
        let mut buffer = [0; wire::LONGEST_QUESTION];
        let spelled = self.spelled(key, &mut buffer);
        (spelled != key.question()).then(|| echoed == spelled)
    }

    /// The question with the letters as they are sent.
    fn spelled<'b>(&self, key: &Key, buffer: &'b mut [u8; wire::LONGEST_QUESTION]) -> &'b [u8] {
        let question = key.question();
        let spelled = buffer.get_mut(..question.len()).unwrap_or_default();
        spelled.copy_from_slice(question);
        let name = spelled.iter_mut().take(question.len().saturating_sub(4));
        for (number, letter) in name.filter(|byte| byte.is_ascii_lowercase()).enumerate() {
            if self.upper >> (number % 64) & 1 == 1 {
                letter.make_ascii_uppercase();
            }
        }
        spelled
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::outgoing::without_opt;

    const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x01\x00\x01";

    /// A query without EDNS.
    struct Asked {
        key: Key,
        query: QueryMessage,
    }

    impl Asked {
        fn new(question: &[u8]) -> Self {
            let query = QueryMessage::new(LoopMarker::new().expect("random"), false).expect("random");
            Self { key: Key::new(question, Flags(Flags::RD), true), query }
        }

        fn accepts(&self, bytes: &[u8]) -> bool {
            self.query.check_response(&self.key, bytes).is_ok()
        }

        /// The server's answer: the bytes of the query with QR set.
        fn answer(&self, rcode: Rcode) -> Vec<u8> {
            let mut bytes = self.query.bytes(&self.key);
            wire::put_header(&mut bytes, self.query.id, Flags(Flags::QR | u16::from(rcode.0)));
            bytes
        }
    }

    #[test]
    fn queries_carry_the_proxys_edns_and_the_clients_do_bit() {
        let mut asked = Asked::new(QUESTION);
        asked.query.with_edns = true;
        let sent = hickory_proto::op::Message::from_vec(&asked.query.bytes(&asked.key)).expect("decodes");
        let edns = sent.edns.as_ref().expect("EDNS");
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
        assert!(sent.metadata.recursion_desired && sent.metadata.authentic_data);
    }

    #[test]
    fn rfc5452_9_1_id_and_question_must_match() {
        let asked = Asked::new(QUESTION);
        let good = asked.answer(Rcode::NO_ERROR);
        assert!(asked.accepts(&good) && !asked.accepts(&[]));
        for (at, change, accepted, what) in [
            (13, 0x20, true, "another case"),
            (0, 0x02, false, "another id"),
            (13, 0x02, false, "another name"),
            (24, 0x02, false, "another type"),
            (26, 0x02, false, "another class"),
            (2, 0x80, false, "a query is no answer"),
            (5, 0x03, false, "two questions"),
            (7, 0x01, false, "an answer record that is missing"),
        ] {
            let mut changed = good.clone();
            changed[at] ^= change;
            assert_eq!(asked.accepts(&changed), accepted, "{what}");
        }
        let asked = Asked::new(b"\x01a\x00\x00\x41\x00\x01");
        let mut bytes = asked.answer(Rcode::NO_ERROR);
        assert!(asked.accepts(&bytes));
        bytes[16] = 0x61;
        assert!(!asked.accepts(&bytes), "97 is not 65, HTTPS");
    }

    #[test]
    fn an_answer_with_incomplete_later_sections_is_accepted() {
        let asked = Asked::new(QUESTION);
        let record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01";
        for (counts, more) in [([1, 0, 1], 0), ([1, 1, 0], 0), ([1, 1, 1], 5), ([1, 0, 9], 15)] {
            let mut bytes = asked.answer(Rcode::NO_ERROR);
            wire::put_counts(&mut bytes, 1, counts);
            bytes.extend_from_slice(record);
            let end = bytes.len();
            bytes.extend_from_slice(&record[..more]);
            assert!(asked.accepts(&bytes), "{counts:?}");
            let whole = without_opt(bytes.clone(), &Message::new(&bytes).expect("a message").read());
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!((whole.len(), decoded.answers.len(), decoded.additionals.len()), (end, 1, 0));
        }
    }

    #[test]
    fn a_truncated_answer_is_accepted_wherever_it_is_cut_off() {
        let asked = Asked::new(QUESTION);
        let mut bytes = asked.answer(Rcode::NO_ERROR);
        wire::set_flag(&mut bytes, Flags::TC);
        wire::put_counts(&mut bytes, 1, [2, 1, 1]);
        let end = bytes.len();
        bytes.extend_from_slice(
            &b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01".repeat(2),
        );
        for length in end..=bytes.len() {
            let cut = &bytes[..length];
            assert!(asked.accepts(cut), "{length} bytes");
            let whole = without_opt(cut.to_vec(), &Message::new(cut).expect("a message").read());
            let records = (length - end) / 16;
            assert_eq!(whole.len(), end + 16 * records, "{length} bytes");
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!(decoded.answers.len(), records);
        }
        for length in 0..end {
            assert!(!asked.accepts(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_failure_is_accepted_without_the_question() {
        let asked = Asked::new(QUESTION);
        for rcode in 0..16 {
            let is_failure = !matches!(Rcode(rcode), Rcode::NO_ERROR | Rcode::NXDOMAIN);
            for counts in [[0, 0], [1, 1]] {
                let mut header = asked.answer(Rcode(rcode));
                header.truncate(HEADER_LENGTH);
                wire::put_counts(&mut header, counts[0], [0, 0, counts[1]]);
                assert_eq!(asked.accepts(&header), is_failure, "RCODE {rcode}, counts {counts:?}");
                header[0] ^= 1;
                assert!(!asked.accepts(&header), "another id");
            }
            let mut other = asked.answer(Rcode(rcode));
            other[13] ^= 2;
            assert!(!asked.accepts(&other), "another name, RCODE {rcode}");
        }
    }
}
