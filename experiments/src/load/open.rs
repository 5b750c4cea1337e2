//! Open loop: sends queries over UDP at a fixed rate, whether they are answered or not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::LookupResult;
use podlocal_harness::time::since_1970;

use super::batch::{BATCH, Receiver, connected, note_arrivals, send};

/// The largest number of queries that are sent late, because the load generator had no core; it fits into the
/// receive buffer of a server. More are skipped.
const MOST_LATE: usize = 256;

/// The shortest time between two batches of queries.
const TICK: Duration = Duration::from_micros(500);

/// The time between two checks whether the last queries are answered.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The servers, the sources, the number of queries and their rate.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// The source and the server of each socket; the sockets send in turn.
    pub(crate) sockets: Vec<(Ipv4Addr, SocketAddr)>,
    pub(crate) queries: usize,
    /// The time from one query to the next; zero: all at the same time.
    pub(crate) interval: Duration,
    /// The time after the last query in which no answer is read: reading takes a core from the server, and the
    /// kernel records when an answer arrives.
    pub(crate) quiet: Duration,
    /// The time-out for the last answers.
    pub(crate) timeout: Duration,
}

/// One lookup.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The index of its socket.
    pub(crate) socket: usize,
    /// Since 1970, like the kernel's arrival times.
    pub(crate) sent_at: Duration,
    /// The time that it took ends with the arrival of the answer at the socket.
    pub(crate) seen: LookupResult,
}

impl Open {
    /// Queries with the time-out of glibc.
    pub(crate) fn new(sockets: Vec<(Ipv4Addr, SocketAddr)>, queries: usize, interval: Duration) -> Self {
        Self { sockets, queries, interval, quiet: Duration::ZERO, timeout: Duration::from_secs(5) }
    }

    /// Sends the queries. `query` returns the one with a number; its id is replaced.
    pub(crate) fn run(&self, query: impl Fn(usize) -> Vec<u8>) -> Result<Vec<Lookup>, Failure> {
        let sockets = self.sockets.iter().map(|(source, server)| connected(*source, *server));
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        sockets.iter().try_for_each(note_arrivals)?;
        let are_together = self.interval.is_zero();
        let batch = if are_together { self.queries / sockets.len() } else { BATCH };
        let (mut lookups, mut answers) = (Vec::with_capacity(self.queries), Answers::default());
        let (start, mut number, mut turns) = (Instant::now(), 0, (0..sockets.len()).cycle());
        for tick in 1.. {
            let due = match start.elapsed().as_nanos().checked_div(self.interval.as_nanos()) {
                Some(passed) => self.queries.min(passed as usize + 1),
                None => self.queries,
            };
            if !are_together {
                number = number.max(due.saturating_sub(MOST_LATE));
            }
            while number < due {
                let socket = turns.next().unwrap_or_default();
                let mut queries: Vec<_> = (number..due.min(number + batch)).map(&query).collect();
                for query in &mut queries {
                    query[..2].copy_from_slice(&(lookups.len() as u16).to_be_bytes());
                    let seen = LookupResult { response: None, elapsed: self.timeout };
                    lookups.push(Lookup { socket, sent_at: since_1970(), seen });
                }
                // A query that cannot be sent counts as unanswered.
                send(&sockets[socket], &queries).with_context("sending")?;
                number += queries.len();
            }
            if number == self.queries {
                break;
            }
            answers.receive(&sockets, &lookups)?;
            wait_until(start + self.interval.max(TICK) * tick);
        }
        let mut check_at = Instant::now() + self.quiet;
        let end = Instant::now() + self.timeout;
        while check_at <= end && answers.received.len() < lookups.len() {
            wait_until(check_at);
            answers.receive(&sockets, &lookups)?;
            check_at += CHECK_INTERVAL;
        }
        // They are parsed now, so that a fast load takes no more CPU time than necessary.
        for (index, elapsed, answer) in answers.received {
            let seen = &mut lookups[index].seen;
            if let (None, Ok(response)) = (&seen.response, Message::from_vec(&answer)) {
                *seen = LookupResult { response: Some(response), elapsed };
            }
        }
        Ok(lookups)
    }
}

/// The answers: for each the index of its lookup, the time that it took, and the message.
#[derive(Default)]
struct Answers {
    received: Vec<(usize, Duration, Vec<u8>)>,
    receiver: Receiver,
}

impl Answers {
    fn receive(&mut self, sockets: &[UdpSocket], lookups: &[Lookup]) -> Result<(), Failure> {
        for socket in sockets {
            loop {
                let answers = self.receiver.receive(socket).with_context("receiving")?;
                let is_last = answers.len() < BATCH;
                for (answer, came_at) in answers {
                    let Some(index) = index_of(answer, lookups.len()) else { continue };
                    let elapsed = came_at.saturating_sub(lookups[index].sent_at);
                    self.received.push((index, elapsed, answer.to_vec()));
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The index of the latest lookup with the id of this answer: an id has two bytes, and they repeat.
fn index_of(answer: &[u8], lookups: usize) -> Option<usize> {
    let (id, latest) = (u16::from_be_bytes(*answer.first_chunk()?), lookups.checked_sub(1)?);
    latest.checked_sub(usize::from((latest as u16).wrapping_sub(id)))
}

fn wait_until(time: Instant) {
    while Instant::now() < time {
        std::thread::park_timeout(time.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Names;
    use podlocal_harness::loopback::upstream::Upstream;

    #[test]
    fn an_id_is_that_of_the_latest_lookup() {
        let index = |id: u16, lookups| index_of(&id.to_be_bytes(), lookups);
        assert_eq!((index(0, 1), index(1, 1), index(0, 0)), (Some(0), None, None));
        assert_eq!((index(2, 65_540), index(7, 65_540)), (Some(65_538), Some(7)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_socket_sees_its_answers_at_any_rate() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        let names = Names::new("name")?;
        for interval in [0, 100, 1000].map(Duration::from_micros) {
            let sockets = (1..=10).map(|number| (Ipv4Addr::new(127, 1, 0, number), upstream.address));
            let lookups = Open::new(sockets.collect(), 50, interval).run(|number| names.query(number))?;
            let answered = lookups.iter().filter(|lookup| lookup.seen.is_answered()).count();
            assert!(lookups.len() <= 50 && answered == lookups.len(), "{lookups:?}");
            assert!(lookups.iter().all(|lookup| lookup.seen.elapsed > Duration::ZERO), "{lookups:?}");
        }
        assert!(upstream.asked() >= 50);
        Ok(())
    }
}
