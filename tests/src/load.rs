//! One source that asks a DNS server, and takes less of the machine than what it asks.
//!
//! ```text
//!   datagrams   as many questions as are answered, by UDP
//!   streams     the same by TCP
//!   paced       so many questions a second, and how long each answer took
//!   batch       datagrams by the dozen: sendmmsg(2), recvmmsg(2), UDP_SEGMENT
//! ```
//!
//! Whoever measures says how much of a core asking took: a server that is slower than that was measured, not the asker.

pub(crate) mod batch;
pub(crate) mod datagrams;
pub(crate) mod paced;
pub(crate) mod streams;

use hickory_proto::rr::RecordType;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::failure::{Failure, Tried};

/// What came of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Answers a second, those that failed left out.
    pub(crate) per_second: f64,
    /// Answers, those that failed left out.
    pub(crate) answered: u64,
    /// Answers other than NOERROR, and those without a record.
    pub(crate) failed: u64,
    /// Questions that got no answer.
    pub(crate) lost: u64,
    /// The share of a core that asking took: with 1.0 it is the asker that was measured.
    pub(crate) busy: f64,
}

impl Figures {
    /// Counts an answer to a question of that many bytes. A server that answers says more than it was asked.
    fn count(&mut self, answer: &[u8], question: usize) {
        let is_good = batch::rcode(answer) == Some(0) && answer.len() > question;
        self.answered += u64::from(is_good);
        self.failed += u64::from(!is_good);
    }
}

/// Questions for the A records of so many names, as a sidecar or a C library asks them. All have one length, and their
/// ids are their numbers.
pub(crate) fn questions(prefix: &str, names: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let first = batch::question(0, &name(prefix, 0), RecordType::A)?;
    // Behind the header and the length of the label.
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

/// Different for ten million numbers, and in no order.
fn label(prefix: &str, number: usize) -> String {
    format!("{prefix}-{:07}", number * 7_654_321 % 10_000_000)
}

/// User and system time of this thread, in seconds.
fn thread_time() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).tried(|| "reading this thread's time".to_owned())?;
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
