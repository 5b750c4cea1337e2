//! The oracles of the fuzz targets. `.ci/fuzz` builds and runs them.
//!
//! A target that only waits for a panic finds little in code without unchecked indexing. So each target has
//! an independent oracle: the decoder of hickory-proto, or [`walk`], which shares no code with the parser of
//! the sidecar.
//!
//! | target | input | invariant |
//! |---|---|---|
//! | [`query`] | a message from a client | hickory-proto parses it to the same query; a refusal has a reason in the table; every answer decodes |
//! | [`reply`] | an answer of an upstream, and a client | the patched answer has the content of the original |
//! | [`review`] | the body of an admission review | the decision is the same as for the complete JSON tree, the pod is allowed, memory is limited |
//! | [`session`] | a sequence of answers of an upstream and of queries of clients | each client gets the last answer of the upstream |
//! | [`settings`] | the texts of settings | written settings parse to the same values; forward zones parse as each zone alone |
//! | [`upstream`] | an answer of an upstream, and a query of the sidecar | the answer is accepted exactly if it answers the query |
//! | [`work`] | an answer of an upstream, repeated to 64 KiB; the same as a query | the number of parsing steps is limited by the number of bytes |
//!
//! Every check is a function that takes bytes and panics, so a finding can be replayed anywhere.

mod message;
pub mod query;
pub mod reply;
pub mod review;
pub mod session;
pub mod settings;
pub mod upstream;
pub mod walk;
pub mod work;

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// The message that hickory-proto decodes, and the number of bytes that it has read.
pub fn decode(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut decoder = BinDecoder::new(bytes);
    let message = Message::read(&mut decoder).ok()?;
    Some((message, decoder.index()))
}

/// The question of a decoded message as uncompressed bytes, in its original letter case.
pub fn question(message: &Message) -> Option<Vec<u8>> {
    let [question] = &message.queries[..] else { return None };
    let mut bytes = name(question.name());
    bytes.extend_from_slice(&u16::from(question.query_type()).to_be_bytes());
    bytes.extend_from_slice(&u16::from(question.query_class()).to_be_bytes());
    Some(bytes)
}

/// Whether two questions are the same: the names without regard to letter case, the type and class exactly.
pub fn same_question(left: &[u8], right: &[u8]) -> bool {
    let halves = |question: &[u8]| {
        let (name, rest) = question.split_at(question.len().saturating_sub(4));
        (name.to_ascii_lowercase(), rest.to_vec())
    };
    halves(left) == halves(right)
}

/// A query with this id, these flags and this question, and without any record.
pub fn bare_query(id: u16, flags: u16, question: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, flags, 1, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(question);
    bytes
}

/// Appends an OPT record without options to a message without records behind the question.
pub fn put_opt(bytes: &mut Vec<u8>, payload_size: u16, flags: u16) {
    bytes[11] = 1;
    bytes.push(0);
    for word in [walk::OPT, payload_size, 0, flags, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
}

/// Changes the case of those letters of a question's name whose bit is set in the mask, beginning with the
/// first byte.
pub fn respell(question: &mut [u8], mask: u32) {
    let length = question.len().saturating_sub(4);
    for (at, byte) in question[..length].iter_mut().enumerate() {
        if byte.is_ascii_alphabetic() && mask >> (at % 32) & 1 == 1 {
            *byte ^= 0x20;
        }
    }
}

/// Two bytes of a message, in network order.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn name(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}
