//! Sends queries over UDP at a fixed rate, whether they are answered or not, and measures the latency of each
//! answer.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use podlocal_harness::time::since_1970;

use super::batch::{Receiver, connected, note_arrivals};
use podlocal_harness::failure::{Failure, WithContext};

/// The time-out for the last answers.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The latencies of the answered queries in microseconds, ascending: from sending the query to the arrival of
/// the answer at the socket. The kernel records the arrival, so that a late read does not matter.
pub(crate) fn ask(
    server: SocketAddr,
    questions: &[Vec<u8>],
    rate: f64,
    duration: Duration,
) -> Result<Vec<f64>, Failure> {
    let socket = connected(Ipv4Addr::LOCALHOST, server)?;
    note_arrivals(&socket)?;
    let interval = Duration::from_secs_f64(1.0 / rate);
    let mut waiting =
        Waiting { socket, receiver: Receiver::new(), sent_at: Vec::new(), microseconds: Vec::new() };
    let start = Instant::now();
    let mut due = start;
    // An id has two bytes, and this number of queries is enough for every percentile in use.
    for (number, question) in (0..=u16::MAX).zip(questions.iter().cycle()) {
        if due - start >= duration {
            break;
        }
        waiting.until(due)?;
        let mut message = question.clone();
        message[..2].copy_from_slice(&number.to_be_bytes());
        waiting.sent_at.push(Some(since_1970()));
        // A query that cannot be sent counts as unanswered.
        let _ = waiting.socket.send(&message);
        due += interval;
    }
    let end = Instant::now() + ANSWER_TIMEOUT;
    while waiting.microseconds.len() < waiting.sent_at.len() && Instant::now() < end {
        waiting.until(Instant::now() + interval)?;
    }
    waiting.microseconds.sort_by(f64::total_cmp);
    Ok(waiting.microseconds)
}

struct Waiting {
    socket: UdpSocket,
    receiver: Receiver,
    /// The send time by id; `None` for an answered query.
    sent_at: Vec<Option<Duration>>,
    microseconds: Vec<f64>,
}

impl Waiting {
    /// Receives answers until `due`.
    fn until(&mut self, due: Instant) -> Result<(), Failure> {
        loop {
            for (answer, came_at) in
                self.receiver.receive(&self.socket).with_context(|| "receiving".to_owned())?
            {
                let id = answer.first_chunk::<2>().map(|id| usize::from(u16::from_be_bytes(*id)));
                let sent_at = id.and_then(|id| self.sent_at.get_mut(id)).and_then(Option::take);
                self.microseconds.extend(sent_at.map(|at| came_at.saturating_sub(at).as_secs_f64() * 1e6));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut watched, Some(TimeSpec::from_duration(left)), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).with_context(|| "waiting for answers".to_owned()),
            }
        }
    }
}
