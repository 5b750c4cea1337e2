//! The message that asks an upstream, and the test whether a message answers it.

use super::doubt::Stray;
use super::random;
use super::token::Token;
use crate::cache::key::Key;
use crate::metrics::Unwanted;
use crate::query::MARKER_OPTION;
use crate::reply::PAYLOAD_SIZE;
use crate::wire::{self, Flags, HEADER_LENGTH, Message, Rcode, Reading};

/// An OPT record with one marker: eleven bytes, and four and eight for the option.
const OPT_ROOM: usize = 23;

/// Our own form of a client's question: a fresh id, AD always (the key does not split on it), EDNS for
/// ourselves (RFC 6891 section 7: EDNS concerns one hop), with our token in an option.
#[derive(Debug)]
pub struct Question<'a> {
    key: &'a Key,
    token: Token,
    id: u16,
    /// Which letters of the name are upper case, bit by bit, from the beginning again after 64; none: the key is in lower case.
    upper: u64,
    /// The markers of the query that it is asked for.
    passed: Box<[u8]>,
}

impl<'a> Question<'a> {
    /// The question of that key, with a random id (RFC 5452 section 9.2).
    pub fn new(key: &'a Key, token: Token) -> std::io::Result<Self> {
        Ok(Self { key, token, id: random::id()?, upper: 0, passed: Box::default() })
    }

    /// The id that it is sent with.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Takes an id that was drawn elsewhere.
    pub fn renumber(&mut self, id: u16) {
        self.id = id;
    }

    /// The same with its name spelled at random.
    pub fn spelled_at_random(self) -> std::io::Result<Self> {
        let mut upper = 0;
        for _ in 0..size_of::<u64>() / size_of::<u16>() {
            upper = upper << u16::BITS | u64::from(random::id()?);
        }
        Ok(Self { upper, ..self })
    }

    /// The same with the markers of other proxies behind ours.
    #[must_use]
    pub fn passing_on(self, passed: Box<[u8]>) -> Self {
        Self { passed, ..self }
    }

    /// The bytes to send; without EDNS for servers that do not know it (RFC 6891 section 6.2.2).
    pub fn bytes(&self, with_edns: bool) -> Vec<u8> {
        let key = self.key;
        let mut flags = Flags::AD;
        if key.recursion_desired() {
            flags |= Flags::RD;
        }
        if key.checking_disabled() {
            flags |= Flags::CD;
        }
        let mut bytes =
            Vec::with_capacity(HEADER_LENGTH + key.question().len() + OPT_ROOM + self.passed.len());
        bytes.resize(HEADER_LENGTH, 0);
        wire::put_header(&mut bytes, self.id, Flags(flags));
        wire::put_counts(&mut bytes, 1, [0; 3]);
        let mut buffer = [0; wire::LONGEST_QUESTION];
        bytes.extend_from_slice(self.spelled(&mut buffer));
        if with_edns {
            wire::push_opt(&mut bytes, PAYLOAD_SIZE, 0, key.dnssec_ok());
            match &*self.passed {
                [] => wire::push_option(&mut bytes, MARKER_OPTION, self.token.marker()),
                passed => {
                    wire::push_option(&mut bytes, MARKER_OPTION, &[self.token.marker(), passed].concat());
                }
            }
        }
        bytes
    }

    /// Judges a message that came from the server.
    ///
    /// | message (id, QR and OPCODE are right) | verdict |
    /// |---|---|
    /// | a failure for this question, or without any question | believed |
    /// | truncated (TC), for this question | believed, wherever it is cut off: TCP brings the whole |
    /// | NOERROR or NXDOMAIN for this question, with a whole answer section | believed: no client reads more |
    /// | anything else | ignored: it is not ours, or forged |
    ///
    /// RFC 5452 section 9.1: the id and the whole question must match; names are compared without regard to case. (The
    /// address matches because the socket is connected.) A failure holds nothing that could be forged into the cache.
    pub fn judge(&self, bytes: &[u8]) -> Verdict {
        let Some(message) = Message::new(bytes) else { return Verdict::stray(Unwanted::Malformed) };
        let flags = message.flags();
        if !flags.has(Flags::QR) || flags.opcode() != wire::OPCODE_QUERY {
            return Verdict::stray(Unwanted::Malformed);
        }
        let is_ours = |question: &[u8]| is_same_question(question, self.key.question());
        let is_answered = message.question_count() == 1 && message.question().is_some_and(is_ours);
        if message.id() != self.id {
            return Verdict::Ignore(Stray { reason: Unwanted::Id, is_near_miss: is_answered });
        }
        let reading = message.read();
        let is_failure = !matches!(reading.rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN);
        // Some servers copy the counts of the query into a header that they send alone.
        let is_header_alone = message.question_count() == 0 || bytes.len() == HEADER_LENGTH;
        // Some servers copy the ARCOUNT of the query and send no record for it.
        match (is_failure, is_answered) {
            (true, true) => Verdict::Believe(reading),
            (true, false) if is_header_alone => Verdict::Believe(reading),
            (false, true) if flags.has(Flags::TC) || reading.has_all_answers => Verdict::Believe(reading),
            (_, true) => Verdict::stray(Unwanted::Malformed),
            (_, false) => Verdict::stray(Unwanted::Question),
        }
    }

    /// Whether a response gives the question back in our spelling; `None` where nothing could show that.
    pub fn is_echo(&self, response: &[u8]) -> Option<bool> {
        if self.upper == 0 {
            return None;
        }
        let echoed = Message::new(response).and_then(Message::question)?;
        let mut buffer = [0; wire::LONGEST_QUESTION];
        let spelled = self.spelled(&mut buffer);
        (spelled != self.key.question()).then(|| echoed == spelled)
    }

    /// The question as we ask it.
    fn spelled<'b>(&self, buffer: &'b mut [u8; wire::LONGEST_QUESTION]) -> &'b [u8] {
        let question = self.key.question();
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

    /// Whether markers of other proxies go with it.
    pub fn is_passed_on(&self) -> bool {
        !self.passed.is_empty()
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.key.dnssec_ok()
    }
}

/// A response that is believed, as all others get it: its records up to the OPT record, which concerns one hop (RFC 6891
/// section 6.1.1), or to the one that is cut off in the middle, and counts that fit.
///
/// An RCODE of more than four bits becomes SERVFAIL: BADVERS and BADCOOKIE are about our own EDNS, and their lower bits alone
/// would say NOERROR and YXRRSET (section 6.1.3).
///
/// Its question is in lower case, however it was asked: what points there must not show the spelling.
pub fn whole(mut response: Vec<u8>, reading: &Reading) -> Vec<u8> {
    if reading.rcode.0 > 0xf {
        wire::put_rcode(&mut response, Rcode::SERVFAIL);
    }
    let question_length = Message::new(&response).map_or(0, Message::question_length);
    if question_length > 0 {
        response.truncate(reading.end);
        wire::put_counts(&mut response, 1, reading.counts);
        wire::lower_case_question(&mut response, question_length);
    }
    response
}

/// Types and classes are numbers, of which some look like letters: HTTPS is 65, `A`, and 97 is `a`.
pub fn is_same_question(one: &[u8], other: &[u8]) -> bool {
    wire::type_and_class(one) == wire::type_and_class(other) && one.eq_ignore_ascii_case(other)
}

/// What to do with a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers the question, and says this.
    Believe(Reading),
    /// It is not for us, not for this question, or malformed: keep listening.
    Ignore(Stray),
}

impl Verdict {
    fn stray(reason: Unwanted) -> Self {
        Self::Ignore(Stray { reason, is_near_miss: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x01\x00\x01";

    fn question(key: &Key) -> Question<'_> {
        Question::new(key, Token::new().expect("random")).expect("random")
    }

    fn is_believed(question: &Question<'_>, bytes: &[u8]) -> bool {
        matches!(question.judge(bytes), Verdict::Believe(_))
    }

    fn key() -> Key {
        Key::new(QUESTION, Flags(Flags::RD), true)
    }

    /// The server's answer to the question: the same bytes with QR set.
    fn answer(question: &Question<'_>, rcode: Rcode) -> Vec<u8> {
        let mut bytes = question.bytes(false);
        wire::put_header(&mut bytes, question.id, Flags(Flags::QR | u16::from(rcode.0)));
        bytes
    }

    #[test]
    fn we_ask_with_our_own_edns_and_the_clients_do_bit() {
        let key = key();
        let asked = hickory_proto::op::Message::from_vec(&question(&key).bytes(true));
        let asked = asked.expect("decodes");
        let edns = asked.edns.as_ref().expect("EDNS");
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
        assert!(asked.metadata.recursion_desired && asked.metadata.authentic_data);
    }

    #[test]
    fn rfc5452_9_1_an_answer_is_believed_when_id_and_question_match() {
        let key = key();
        let question = question(&key);
        let good = answer(&question, Rcode::NO_ERROR);
        assert!(is_believed(&question, &good));
        assert!(!is_believed(&question, &good.to_ascii_uppercase()[..0]));
        let mut other_case = good.clone();
        other_case[13] = b'A';
        assert!(is_believed(&question, &other_case));
        for (at, what) in
            [(0, "another id"), (13, "another name"), (24, "another type"), (26, "another class")]
        {
            let mut spoofed = good.clone();
            spoofed[at] ^= 0x02;
            assert!(!is_believed(&question, &spoofed), "{what}");
        }
        let mut query = good.clone();
        query[2] &= 0x7f;
        assert!(!is_believed(&question, &query), "a query is no answer");
        let mut two = good;
        two[5] = 2;
        assert!(!is_believed(&question, &two), "two questions");
    }

    #[test]
    fn types_that_differ_as_letters_do_are_different_types() {
        let key = Key::new(b"\x01a\x00\x00\x41\x00\x01", Flags(Flags::RD), false);
        let question = question(&key);
        let mut bytes = answer(&question, Rcode::NO_ERROR);
        assert!(is_believed(&question, &bytes));
        bytes[16] = 0x61;
        assert!(!is_believed(&question, &bytes), "97 is not 65, HTTPS");
    }

    #[test]
    fn a_malformed_answer_is_not_believed() {
        let key = key();
        let question = question(&key);
        for rcode in [Rcode::NO_ERROR, Rcode::NXDOMAIN] {
            let mut bytes = answer(&question, rcode);
            bytes[7] = 1;
            assert!(!is_believed(&question, &bytes));
        }
    }

    #[test]
    fn an_answer_is_believed_when_later_sections_are_not_what_their_counts_say() {
        let key = key();
        let question = question(&key);
        let record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01";
        for (counts, more) in [([1, 0, 1], 0), ([1, 1, 0], 0), ([1, 1, 1], 5), ([1, 0, 9], 15)] {
            let mut bytes = answer(&question, Rcode::NO_ERROR);
            wire::put_counts(&mut bytes, 1, counts);
            bytes.extend_from_slice(record);
            let end = bytes.len();
            bytes.extend_from_slice(&record[..more]);
            assert!(is_believed(&question, &bytes), "{counts:?}");
            let whole = whole(bytes.clone(), &Message::new(&bytes).expect("a message").read());
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!((whole.len(), decoded.answers.len(), decoded.additionals.len()), (end, 1, 0));
        }
    }

    #[test]
    fn a_truncated_answer_is_believed_wherever_it_is_cut_off() {
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
            assert!(is_believed(&question, cut), "{length} bytes");
            let whole = whole(cut.to_vec(), &Message::new(cut).expect("a message").read());
            let records = (length - end) / 16;
            assert_eq!(whole.len(), end + 16 * records, "{length} bytes");
            let decoded = hickory_proto::op::Message::from_vec(&whole).expect("decodes");
            assert_eq!(decoded.answers.len(), records);
        }
        for length in 0..end {
            assert!(!is_believed(&question, &bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_failure_is_believed_without_the_question_and_an_answer_is_not() {
        let key = key();
        let question = question(&key);
        for rcode in 0..16 {
            let is_failure = !matches!(Rcode(rcode), Rcode::NO_ERROR | Rcode::NXDOMAIN);
            for counts in [[0, 0], [1, 1]] {
                let mut header = answer(&question, Rcode(rcode));
                header.truncate(HEADER_LENGTH);
                wire::put_counts(&mut header, counts[0], [0, 0, counts[1]]);
                assert_eq!(is_believed(&question, &header), is_failure, "RCODE {rcode}, counts {counts:?}");
                header[0] ^= 1;
                assert!(!is_believed(&question, &header), "another id");
            }
            let mut other = answer(&question, Rcode(rcode));
            other[13] ^= 2;
            assert!(!is_believed(&question, &other), "another name, RCODE {rcode}");
        }
    }
}
