//! A source that looks up new names at a fixed rate, whether it gets answers or not.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::batch::{BATCH, Receiver, connected_for, question, rcode, send_row};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::process::Pinned;

/// The number of sockets of the source.
const SOCKETS: usize = 8;

/// The longest delay, in microseconds, that it makes up for. Queries that it could not send earlier, because
/// it had no core, are skipped.
const LONGEST_BURST: u64 = 10_000;

/// The offsets of the letters in a query that change: after the header and the length of the label.
const LETTERS: std::ops::Range<usize> = 13..29;

/// The server, the source and the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood {
    pub(super) server: SocketAddr,
    pub(super) source: Ipv4Addr,
    pub(super) per_second: u32,
    pub(super) core: Option<usize>,
    pub(super) seed: u64,
}

/// The results of a flood.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Questions that were sent.
    pub(super) sent: u64,
    /// Answers that were NOERROR.
    pub(super) answered: u64,
    /// Answers that were SERVFAIL or had another RCODE.
    pub(super) shed: u64,
}

impl Flood {
    /// Sends queries for this time, in a separate thread.
    pub(super) async fn run(self, duration: Duration) -> Result<Figures, Failure> {
        let runtime = Handle::current();
        let measured = tokio::task::spawn_blocking(move || {
            let _pinned = self.core.map(Pinned::to).transpose()?;
            runtime.block_on(self.ask(duration))
        });
        measured.await.with_context(|| "flooding".to_owned())?
    }

    async fn ask(self, duration: Duration) -> Result<Figures, Failure> {
        let template = question(0, "0000000000000000.example.net", RecordType::A)?;
        let length = template.len();
        let sockets: Vec<UdpSocket> = (0..SOCKETS)
            .map(|_| connected_for(length, self.source, self.server))
            .collect::<Result<_, _>>()?;
        let (mut row, mut random) = (template.repeat(BATCH), fastrand::Rng::with_seed(self.seed));
        let (mut receiver, mut figures) = (Receiver::new(), Figures::default());
        let mut beat = interval(Duration::from_millis(1));
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let start = Instant::now();
        // The unit is a millionth of a query.
        let (mut owed, mut paid_until, mut turn) = (0_u64, 0, 0);
        while start.elapsed() < duration {
            beat.tick().await;
            let now = start.elapsed().as_micros() as u64;
            owed += (now - paid_until).min(LONGEST_BURST) * u64::from(self.per_second);
            paid_until = now;
            while owed >= 1_000_000 {
                let count = ((owed / 1_000_000) as usize).min(BATCH);
                let row = &mut row[..count * length];
                row.chunks_exact_mut(length).for_each(|question| rename(question, random.u64(..)));
                turn = (turn + 1) % SOCKETS;
                let is_sent = send_row(&sockets[turn], row).with_context(|| "flooding".to_owned())?;
                figures.sent += if is_sent { count as u64 } else { 0 };
                owed -= count as u64 * 1_000_000;
            }
            figures.take(&sockets, &mut receiver)?;
        }
        // Answers in flight are counted if they arrive soon.
        beat.reset_after(Duration::from_millis(50));
        beat.tick().await;
        figures.take(&sockets, &mut receiver)?;
        Ok(figures)
    }
}

impl Figures {
    /// Receives all available answers.
    fn take(&mut self, sockets: &[UdpSocket], receiver: &mut Receiver) -> Result<(), Failure> {
        for socket in sockets {
            loop {
                let mut count = 0;
                for (answer, _) in receiver.receive(socket).with_context(|| "receiving".to_owned())? {
                    let is_good = rcode(answer) == Some(0);
                    self.answered += u64::from(is_good);
                    self.shed += u64::from(!is_good);
                    count += 1;
                }
                if count < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Writes the number as sixteen letters from `a` to `p`.
fn rename(question: &mut [u8], number: u64) {
    for (place, letter) in question[LETTERS].iter_mut().enumerate() {
        *letter = b'a' + (number >> (place * 4) & 0x0f) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message;

    #[test]
    fn a_number_becomes_a_name_and_the_question_stays_one() {
        let mut bytes = question(7, "0000000000000000.example.net", RecordType::A).expect("a question");
        rename(&mut bytes, 0xf0);
        let message = Message::from_vec(&bytes).expect("decodes");
        let names: Vec<_> = message.queries.iter().map(|query| query.name().to_ascii()).collect();
        assert_eq!(names, ["apaaaaaaaaaaaaaa.example.net."]);
    }
}
