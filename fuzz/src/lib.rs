//! The oracles of the fuzz targets. `.ci/fuzz` builds and runs them.
//!
//! A target that only waits for a panic finds little in code that indexes nothing unchecked. So each one has a
//! second opinion: hickory-proto's decoder, or [`walk`], which is written apart from the sidecar's own walker.
//!
//! | target | bytes become | what must hold |
//! |---|---|---|
//! | [`query`] | what a client sends | parsed alike, refused for a reason of the table, answered with what decodes |
//! | [`reply`] | an upstream's answer, and a client | the patched answer says what the original says |
//! | [`review`] | the body of an admission review | the same is decided about the whole tree, the pod is allowed, memory is bounded |
//! | [`session`] | what an upstream says in the course of time, and what clients ask | each gets what the upstream said last |
//! | [`settings`] | the texts of settings | read back as they were read; forward zones as their parts are, each alone |
//! | [`upstream`] | an upstream's answer, and our question | believed exactly when it answers the question |
//! | [`work`] | an upstream's answer, repeated to 64 KiB; the same as a query | as many steps as its bytes allow |
//!
//! Every check is a function of bytes that panics, so a finding can be replayed anywhere.

pub mod message;
pub mod query;
pub mod reply;
pub mod review;
pub mod seeds;
pub mod session;
pub mod settings;
pub mod upstream;
pub mod walk;
pub mod work;

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// What hickory-proto makes of the bytes, and how many of them it has read.
pub fn decode(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut decoder = BinDecoder::new(bytes);
    let message = Message::read(&mut decoder).ok()?;
    Some((message, decoder.index()))
}

/// The question of a decoded message as uncompressed bytes, in the spelling it came in.
pub fn question(message: &Message) -> Option<Vec<u8>> {
    let [question] = &message.queries[..] else { return None };
    let mut bytes = name(question.name());
    bytes.extend_from_slice(&u16::from(question.query_type()).to_be_bytes());
    bytes.extend_from_slice(&u16::from(question.query_class()).to_be_bytes());
    Some(bytes)
}

/// Whether two questions are the same: names without regard to case, type and class exactly.
pub fn same_question(left: &[u8], right: &[u8]) -> bool {
    let halves = |question: &[u8]| {
        let (name, rest) = question.split_at(question.len().saturating_sub(4));
        (name.to_ascii_lowercase(), rest.to_vec())
    };
    halves(left) == halves(right)
}

/// A query for that question: a header with these flags, and nothing behind it.
pub fn bare_query(id: u16, flags: u16, question: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, flags, 1, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(question);
    bytes
}

/// Changes the case of the letters of a question's name that the mask names, from its first byte on.
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
