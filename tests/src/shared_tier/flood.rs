//! One source that asks for names that nobody has asked for, at a given rate, whatever it is answered.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::{Failure, Tried};
use crate::load::batch::{BATCH, Receiver, connected_for, question, rcode, send_row};
use crate::process::Pinned;

/// Sockets of the source.
const SOCKETS: usize = 8;

/// What it could not send in time, for want of a core, is not made up for; in microseconds.
const LONGEST_BURST: u64 = 10_000;

/// Where the letters of a name are that change: behind the header and the length of the label.
const LETTERS: std::ops::Range<usize> = 13..29;

/// Whom it asks, from where, and how often a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood {
    pub(super) server: SocketAddr,
    pub(super) source: Ipv4Addr,
    pub(super) per_second: u32,
    pub(super) core: Option<usize>,
    pub(super) seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Questions that were sent.
    pub(super) sent: u64,
    /// Answers that were NOERROR.
    pub(super) answered: u64,
    /// Answers that were SERVFAIL, or anything else.
    pub(super) shed: u64,
}

impl Flood {
    /// Asks for that long, in a thread of its own.
    pub(super) async fn run(self, duration: Duration) -> Result<Figures, Failure> {
        let runtime = Handle::current();
        let measured = tokio::task::spawn_blocking(move || {
            let _pinned = self.core.map(Pinned::to).transpose()?;
            runtime.block_on(self.ask(duration))
        });
        measured.await.tried(|| "flooding".to_owned())?
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
        // In millionths of a question.
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
                let is_sent = send_row(&sockets[turn], row).tried(|| "flooding".to_owned())?;
                figures.sent += if is_sent { count as u64 } else { 0 };
                owed -= count as u64 * 1_000_000;
            }
            figures.take(&sockets, &mut receiver)?;
        }
        // Answers that are under way, as far as they come soon.
        beat.reset_after(Duration::from_millis(50));
        beat.tick().await;
        figures.take(&sockets, &mut receiver)?;
        Ok(figures)
    }
}

impl Figures {
    /// Everything that has come.
    fn take(&mut self, sockets: &[UdpSocket], receiver: &mut Receiver) -> Result<(), Failure> {
        for socket in sockets {
            loop {
                let mut count = 0;
                for (answer, _) in receiver.receive(socket).tried(|| "receiving".to_owned())? {
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

/// Sixteen letters, from `a` to `p`.
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
