//! The parts of an answer, before they are written.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;

/// The records and the RCODE for a question.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) code: Option<ResponseCode>,
    pub(super) authoritative: bool,
    pub(super) recursion_available: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

impl Answer {
    pub(super) fn write(self, response: &mut Message) {
        response.metadata.response_code = self.code.unwrap_or(ResponseCode::NoError);
        response.metadata.authoritative = self.authoritative;
        response.metadata.recursion_available = self.recursion_available;
        response.answers = self.answers;
        response.authorities = self.authorities;
        response.additionals = self.additionals;
    }
}
