//! A load generator for one DNS server, which uses less CPU time than the server.
//!
//! ```text
//!   datagrams   queries over UDP, as fast as they are answered
//!   streams     the same over TCP
//!   paced       queries at a fixed rate, and the latency of each answer
//!   batch       datagrams in batches: sendmmsg(2), recvmmsg(2), UDP_SEGMENT
//! ```
//!
//! The result has the share of a core that the load generator used. When it is near 1.0, the generator was
//! measured, not the server.

pub(crate) mod batch;
pub(crate) mod datagrams;
pub(crate) mod paced;
pub(crate) mod streams;

use hickory_proto::rr::RecordType;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use podlocal_harness::failure::{Failure, WithContext};

/// The results of a load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Successful answers per second.
    pub(crate) per_second: f64,
    /// Successful answers.
    pub(crate) answered: u64,
    /// Answers with another RCODE than NOERROR, or without a record.
    pub(crate) failed: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
    /// The share of a core that the load generator used; with 1.0 the generator was measured, not the server.
    pub(crate) busy: f64,
}

impl Figures {
    /// Counts an answer to a query of `question` bytes. A successful answer is longer than the query.
    fn count(&mut self, answer: &[u8], question: usize) {
        let is_good = batch::rcode(answer) == Some(0) && answer.len() > question;
        self.answered += u64::from(is_good);
        self.failed += u64::from(!is_good);
    }
}

/// Queries for the A records of `names` names, as a sidecar or a C library sends them. All have the same
/// length, and their ids are their numbers.
pub(crate) fn questions(prefix: &str, names: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let first = batch::question(0, &name(prefix, 0), RecordType::A)?;
    // After the header and the length of the label.
    let at = 12 + 1;
    let of = |number: usize| {
        let (mut question, label) = (first.clone(), label(prefix, number));
        question[..2].copy_from_slice(&(number as u16).to_be_bytes());
        question[at..at + label.len()].copy_from_slice(label.as_bytes());
        question
    };
    Ok((0..names).map(of).collect())
}

/// The names that [`questions`] asks for.
pub(crate) fn name(prefix: &str, number: usize) -> String {
    label(prefix, number) + ".example.com"
}

/// The label for a number: different for ten million numbers, and in random order.
fn label(prefix: &str, number: usize) -> String {
    format!("{prefix}-{:07}", number * 7_654_321 % 10_000_000)
}

/// The user and system time of this thread, in seconds.
fn thread_time() -> Result<f64, Failure> {
    let usage =
        getrusage(UsageWho::RUSAGE_THREAD).with_context(|| "reading this thread's time".to_owned())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_ask_for_their_names() {
        let all = questions("hot", 3).unwrap();
        let expected =
            |number: usize| batch::question(number as u16, &name("hot", number), RecordType::A).unwrap();
        assert_eq!(all, [0, 1, 2].map(expected));
    }
}
